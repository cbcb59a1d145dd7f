// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	_ "github.com/jobrun-dev/jobrun/internal/controller"       // registers metrics
	_ "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1" // registers metrics
)

// rejections is the only metric in the alerts that comes from the API server.
const rejections = "apiserver_admission_webhook_rejection_count"

// alert is one rule of config/prometheus.
type alert struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

type prometheusRule struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec struct {
		Groups []struct {
			Name  string  `json:"name"`
			Rules []alert `json:"rules"`
		} `json:"groups"`
	} `json:"spec"`
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var found []alert
	for _, group := range the[prometheusRule](t, parse(t, kustomized(t, "config/prometheus")), "PrometheusRule").Spec.Groups {
		found = append(found, group.Rules...)
	}
	if len(found) == 0 {
		t.Fatal("there are no alerts")
	}
	return found
}

func TestAlertsAreExplained(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "config/prometheus/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, alert := range alerts(t) {
		g := NewWithT(t)
		g.Expect(string(readme)).To(ContainSubstring("\n### "+alert.Alert+"\n"), alert.Alert)
		g.Expect(alert.Annotations["runbook_url"]).To(HaveSuffix("config/prometheus/README.md#"+strings.ToLower(alert.Alert)), alert.Alert)
		g.Expect(alert.Annotations).To(And(HaveKey("summary"), HaveKey("description")), alert.Alert)
		g.Expect(alert.Labels["severity"]).To(Or(Equal("critical"), Equal("warning")), alert.Alert)
	}
}

func TestMonitorFindsTheMetrics(t *testing.T) {
	monitor := the[unstructured.Unstructured](t, parse(t, kustomized(t, "config/prometheus")), "ServiceMonitor")
	wanted, _, _ := unstructured.NestedStringMap(monitor.Object, "spec", "selector", "matchLabels")
	endpoints, _, _ := unstructured.NestedSlice(monitor.Object, "spec", "endpoints")
	found := 0
	for _, service := range all[corev1.Service](t, installed(t), "Service") {
		if labels.SelectorFromSet(wanted).Matches(labels.Set(service.Labels)) {
			found++
			NewWithT(t).Expect(endpoints[0]).To(HaveKeyWithValue("port", service.Spec.Ports[0].Name))
		}
	}
	if found != 1 {
		t.Errorf("the ServiceMonitor selects %d Services, not one", found)
	}
}

// testAlerts looks for the metrics of the alerts: a replica serves them, or they are registered and have no value yet. The tests of
// hack/helm look for those of the gateway.
func testAlerts(t *testing.T, c *cluster, r *replica) {
	served := string(c.scrape(t, r))
	metricName := regexp.MustCompile(`([a-z_]+)[{[]`)
	for _, alert := range alerts(t) {
		names := metricName.FindAllStringSubmatch(alert.Expr, -1)
		if len(names) == 0 {
			t.Errorf("%s is about no metric", alert.Alert)
		}
		for _, match := range names {
			name := match[1]
			if name == "up" || name == rejections || strings.HasPrefix(name, "jobrun_gateway_") {
				continue
			}
			if !strings.Contains(served, "# TYPE "+name+" ") && !registered(name) {
				t.Errorf("%s is about %s, which does not exist", alert.Alert, name)
			}
		}
	}
}

// registered reports whether a metric of that name is registered. The registry refuses a second one of that name.
func registered(name string) bool {
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		name = strings.TrimSuffix(name, suffix)
	}
	probe := prometheus.NewGauge(prometheus.GaugeOpts{Name: name})
	if metrics.Registry.Register(probe) != nil {
		return true
	}
	metrics.Registry.Unregister(probe)
	return false
}

func (c *cluster) scrape(t *testing.T, r *replica) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.metrics+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token(t, scraper))
	httpClient := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	return read(t, httpClient, request)
}

func read(t *testing.T, httpClient *http.Client, request *http.Request) []byte {
	t.Helper()
	response, err := httpClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v", request.URL, response.Status, err)
	}
	return body
}

// The installed webhook configuration points to a Service without endpoints.
func TestAPIServerCountsTriggersLost(t *testing.T) {
	c, g := testCluster(t), NewWithT(t)
	run := newRun("lost")
	g.Expect(c.admin.Create(t.Context(), run)).To(MatchError(ContainSubstring(`failed calling webhook "mjobrun.batch.jobrun.dev"`)))

	httpClient, err := rest.HTTPClientFor(c.AdminConfig())
	g.Expect(err).NotTo(HaveOccurred())
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.AdminConfig().Host+"/metrics", nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(read(t, httpClient, request))).To(MatchRegexp(
		`%s\{error_type="calling_webhook_error",name="mjobrun.batch.jobrun.dev"`, rejections))
}
