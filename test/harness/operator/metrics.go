// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

const (
	// scraper is the name of the ServiceAccount that may read metrics.
	scraper            = "scraper"
	tokenSeconds int64 = 24 * 60 * 60
)

// Metrics has the metrics of a manager, by name.
type Metrics map[string]*dto.MetricFamily

// Sum returns the sum of all series of a counter or gauge, or of all observations of a histogram. It returns 0 if there are
// none.
func (m Metrics) Sum(name string) float64 {
	sum := 0.0
	for _, metric := range m[name].GetMetric() {
		sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + metric.GetHistogram().GetSampleSum()
	}
	return sum
}

// Metrics reads the metrics of a manager. The manager may serve them only a moment after it is ready.
func (o *Operator) Metrics(ctx context.Context, m *Manager) (Metrics, error) {
	return o.MetricsAt(ctx, m.Name, m.Metrics)
}

// MetricsAt reads the metrics that a process serves at an address. The name is for errors.
func (o *Operator) MetricsAt(ctx context.Context, name, address string) (Metrics, error) {
	token, err := o.scraperToken(ctx)
	if err != nil {
		return nil, fmt.Errorf("make a ServiceAccount that may read metrics: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	client := http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // The certificate is self-signed.
		DisableKeepAlives: true,
	}}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics of %s: %s", name, response.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(response.Body)
}

func (o *Operator) scraperToken(ctx context.Context) (string, error) {
	if o.token != "" {
		return o.token, nil
	}
	client, err := kubernetes.NewForConfig(o.cp.AdminConfig())
	if err != nil {
		return "", err
	}
	accounts := client.CoreV1().ServiceAccounts(o.namespace())
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: scraper}}
	if _, err := accounts.Create(ctx, account, metav1.CreateOptions{}); ignoreExisting(err) != nil {
		return "", err
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: scraper},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "jobrun-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: o.namespace(), Name: scraper}},
	}
	if _, err := client.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); ignoreExisting(err) != nil {
		return "", err
	}
	lifetime := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(tokenSeconds)}}
	request, err := accounts.CreateToken(ctx, scraper, lifetime, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	o.token = request.Status.Token
	return o.token, nil
}

// ignoreExisting returns nil if the object exists, because an earlier attempt may have failed half-way.
func ignoreExisting(err error) error {
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
