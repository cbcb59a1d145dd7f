// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"k8s.io/client-go/rest"

	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

// promQL parses the queries of the dashboards.
var promQL = parser.NewParser(parser.Options{})

// dashboard has what the tests look at.
type dashboard struct {
	file       string
	UID        string  `json:"uid"`
	Title      string  `json:"title"`
	Panels     []panel `json:"panels"`
	Templating struct {
		List []variable `json:"list"`
	} `json:"templating"`
}

type panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct {
		Expr       string `json:"expr"`
		Datasource struct {
			UID string `json:"uid"`
		} `json:"datasource"`
	} `json:"targets"`
}

type variable struct {
	Type       string `json:"type"`
	Name       string `json:"name"`
	Definition string `json:"definition"`
}

func dashboards(t *testing.T) (all []dashboard) {
	t.Helper()
	files, err := filepath.Glob(checkout.Path("config/prometheus/dashboards/*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d dashboards, error %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d := dashboard{file: filepath.Base(file)}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, d)
	}
	return all
}

// expressions returns the queries of the panels and of the variables, with values for the variables.
func (d dashboard) expressions() (all []string) {
	queries := []string{}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			queries = append(queries, target.Expr)
		}
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		// label_values(selector, label)
		arguments := strings.TrimSuffix(strings.TrimPrefix(v.Definition, "label_values("), ")")
		comma := strings.LastIndex(arguments, ",")
		queries = append(queries, "sum by ("+arguments[comma+1:]+") ("+arguments[:comma]+")")
	}
	values := []string{"$__rate_interval", "5m", "$__range", "6h"}
	for _, v := range d.Templating.List {
		values = append(values, "$"+v.Name, "x")
	}
	for _, query := range queries {
		all = append(all, strings.NewReplacer(values...).Replace(query))
	}
	return all
}

func TestDashboards(t *testing.T) {
	uids := map[string]string{}
	for _, d := range dashboards(t) {
		g := NewWithT(t)
		g.Expect(uids).NotTo(HaveKey(d.UID), d.file)
		uids[d.UID] = d.file
		g.Expect(d.Title).To(HavePrefix("JobRun / "), d.file)
		g.Expect(d.Templating.List[0]).To(Equal(variable{Type: "datasource", Name: "datasource"}), d.file)
		ids := map[int]bool{}
		for _, p := range d.Panels {
			g.Expect(ids[p.ID]).To(BeFalse(), "%s: two panels have the id %d", d.file, p.ID)
			ids[p.ID] = true
			g.Expect(p.Title).NotTo(BeEmpty(), d.file)
			if p.Type == "row" {
				continue
			}
			g.Expect(p.Description).NotTo(BeEmpty(), "%s: %s", d.file, p.Title)
			g.Expect(p.Targets).NotTo(BeEmpty(), "%s: %s", d.file, p.Title)
			g.Expect(p.GridPos.X+p.GridPos.W).To(BeNumerically("<=", 24), "%s: %s", d.file, p.Title)
			for _, target := range p.Targets {
				g.Expect(target.Datasource.UID).To(Equal("${datasource}"), "%s: %s", d.file, p.Title)
			}
		}
		for _, expression := range d.expressions() {
			g.Expect(expression).NotTo(ContainSubstring("$"), "%s has a variable that it does not define", d.file)
			_, err := promQL.ParseExpr(expression)
			g.Expect(err).NotTo(HaveOccurred(), "%s: %s", d.file, expression)
		}
	}
}

// targetLabels are the labels that Prometheus gives each series of a scraped target.
var targetLabels = []string{"instance", "job", "namespace", "pod", "service", "endpoint", "container"}

// testDashboards compares the metrics and labels in the dashboards, and in the alerts about the gateway, with those that a manager, a
// gateway and the API server serve.
func testDashboards(t *testing.T, c *cluster, manager *operator.Manager) {
	served := map[string]map[string]bool{} // the labels of each metric
	note := func(families map[string]*dto.MetricFamily) {
		for name, family := range families {
			noteFamily(served, name, family)
		}
	}
	NewWithT(t).Eventually(func() error { // A manager serves its metrics a moment after it is ready.
		families, err := c.operator.Metrics(t.Context(), manager)
		note(families)
		return err
	}).WithTimeout(patience).Should(Succeed())
	note(c.gatewayMetrics(t))
	note(c.apiServerMetrics(t))
	for _, d := range dashboards(t) {
		for _, expression := range d.expressions() {
			checkServed(t, served, d.file, expression)
		}
	}
	for alert, expression := range gatewayQueries(t) {
		checkServed(t, served, alert, expression)
	}
}

// checkServed checks that the metrics and labels in a query are served.
func checkServed(t *testing.T, served map[string]map[string]bool, where, expression string) {
	t.Helper()
	parsed, err := promQL.ParseExpr(expression)
	if err != nil {
		t.Fatal(err)
	}
	for metric, names := range usedLabels(parsed) {
		known, exists := served[metric]
		if !exists {
			t.Errorf("%s: no metric %s is served: %s", where, metric, expression)
			continue
		}
		for _, name := range names {
			if !known[name] && !slices.Contains(targetLabels, name) {
				t.Errorf("%s: %s has no label %s, only %v: %s", where, metric, name, slices.Sorted(maps.Keys(known)), expression)
			}
		}
	}
}

// noteFamily records the names and labels of the series of a metric.
func noteFamily(served map[string]map[string]bool, name string, family *dto.MetricFamily) {
	names := []string{name}
	if family.GetType() == dto.MetricType_HISTOGRAM {
		names = []string{name + "_bucket", name + "_sum", name + "_count"}
	}
	for _, name := range names {
		if served[name] == nil {
			served[name] = map[string]bool{}
		}
		for _, metric := range family.GetMetric() {
			for _, pair := range metric.GetLabel() {
				served[name][pair.GetName()] = true
			}
		}
		if strings.HasSuffix(name, "_bucket") {
			served[name]["le"] = true
		}
	}
}

// usedLabels returns the metrics in an expression, with the labels that the expression selects and groups them by.
func usedLabels(expression parser.Expr) map[string][]string {
	used := map[string][]string{}
	parser.Inspect(expression, func(node parser.Node, path []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		used[selector.Name] = append(used[selector.Name], matched(selector.LabelMatchers)...)
		for _, parent := range path {
			if aggregate, ok := parent.(*parser.AggregateExpr); ok && !aggregate.Without {
				used[selector.Name] = append(used[selector.Name], aggregate.Grouping...)
			}
		}
		return nil
	})
	return used
}

func matched(matchers []*labels.Matcher) (names []string) {
	for _, m := range matchers {
		if m.Name != "__name__" {
			names = append(names, m.Name)
		}
	}
	return names
}

// gatewayMetrics starts a gateway, sends it a request and a delivery, and returns its metrics.
func (c *cluster) gatewayMetrics(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	g := NewWithT(t)
	gateway := c.startGateway(t)
	defer gateway.stop(t)
	var families map[string]*dto.MetricFamily
	g.Eventually(func() error {
		for _, path := range []string{"/v1/namespaces/" + served + "/jobs/sync/runs", "/v1/hooks/" + served + "/sync/push"} {
			if _, _, err := gateway.post(path, "", "{}"); err != nil {
				return err
			}
		}
		var err error
		families, err = c.operator.Metrics(t.Context(), &operator.Manager{Process: gateway.process, Metrics: gateway.metrics})
		for _, name := range []string{"jobrun_gateway_requests_total", "jobrun_gateway_deliveries_total"} { // A delivery needs the receivers.
			if families[name] == nil {
				err = errors.Join(err, fmt.Errorf("%s has no series yet", name))
			}
		}
		return err
	}).WithTimeout(patience).Should(Succeed())
	return families
}

// apiServerMetrics returns the metrics of the API server. It has called a webhook that did not answer: see testReinstall.
func (c *cluster) apiServerMetrics(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	g := NewWithT(t)
	httpClient, err := rest.HTTPClientFor(c.AdminConfig())
	g.Expect(err).NotTo(HaveOccurred())
	response, err := httpClient.Get(c.AdminConfig().Host + "/metrics")
	g.Expect(err).NotTo(HaveOccurred())
	defer response.Body.Close()
	textParser := expfmt.NewTextParser(commonmodel.UTF8Validation)
	families, err := textParser.TextToMetricFamilies(response.Body)
	g.Expect(err).NotTo(HaveOccurred())
	return families
}
