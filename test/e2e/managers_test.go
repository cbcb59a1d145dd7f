package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/test/operator"
)

// leader is the manager whose metrics say that it leads; one that is stopped says
// nothing.
func leader() *operator.Manager {
	GinkgoHelper()
	var found *operator.Manager
	Eventually(func() error {
		found = nil
		for _, m := range liveManagers() {
			families, err := scrape(m)
			if err != nil {
				GinkgoWriter.Println(m.Name, err)
				continue
			}
			if value(families, "leader_election_master_status") == 1 {
				found = m
			}
		}
		if found == nil {
			return errors.New("no manager leads")
		}
		return nil
	}).Should(Succeed())
	return found
}

func liveManagers() []*operator.Manager {
	return slices.DeleteFunc(slices.Clone(jobrun.Managers()), func(m *operator.Manager) bool { return m.Exited() })
}

// startManagers starts as many as have ended, as the Deployment would.
func startManagers() {
	GinkgoHelper()
	for range managers - len(liveManagers()) {
		_, err := jobrun.StartManager(ctx)
		Expect(err).NotTo(HaveOccurred())
	}
}

// scrape reads a manager's metrics as Prometheus would.
func scrape(m *operator.Manager) (map[string]*dto.MetricFamily, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+m.Metrics+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+scraperToken())
	scraper := http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // it is self-signed
		DisableKeepAlives: true,
	}}
	response, err := scraper.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics of %s: %s", m.Name, response.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(response.Body)
}

// value sums the series of a counter or gauge.
func value(families map[string]*dto.MetricFamily, name string) float64 {
	sum := 0.0
	for _, metric := range families[name].GetMetric() {
		sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
	}
	return sum
}

var token string

// scraperToken is that of a ServiceAccount which may read metrics.
func scraperToken() string {
	GinkgoHelper()
	if token != "" {
		return token
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: "scraper"}}
	Expect(k8s.Create(ctx, account)).To(Succeed())
	Expect(k8s.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "scraper"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "jobrun-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}},
	})).To(Succeed())
	request := &authenticationv1.TokenRequest{}
	Expect(k8s.SubResource("token").Create(ctx, account, request)).To(Succeed())
	token = request.Status.Token
	return token
}
