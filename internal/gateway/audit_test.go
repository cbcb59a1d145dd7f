// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

// audited is the gate whose audit lines come to a slice.
func audited(t *testing.T) (*gate, *[]string) {
	var logged []string
	s := admitting(apiserver.Created)
	s.Put(&v1alpha1.JobRun{ObjectMeta: named("a"), Spec: v1alpha1.JobRunSpec{JobName: "sync"}})
	g := newGate(t, s, func(o *Options) {
		o.Audit = funcr.New(func(_, line string) { logged = append(logged, line) }, funcr.Options{})
	})
	return g, &logged
}

// Each request that does more than read has one line, which names its caller, also if it is refused.
func TestAudit(t *testing.T) {
	const user = `"level"=0 "msg"="Answered a caller" "user"="ann" "uid"="" `
	for name, tc := range map[string]struct {
		method, path, body string
		want               string
	}{
		"a cancel":   {"POST", "/v1/namespaces/default/runs/a/cancel", "", `"method"="POST" "route"="/v1/namespaces/{ns}/runs/{run}/cancel" "namespace"="default" "job"="" "run"="a" "created"="" "requestID"="id" "code"=200`},
		"a delete":   {"DELETE", "/v1/namespaces/default/runs/a", "", `"method"="DELETE" "route"="/v1/namespaces/{ns}/runs/{run}" "namespace"="default" "job"="" "run"="a" "created"="" "requestID"="id" "code"=200`},
		"a batch":    {"POST", batchPath, "{", `"method"="POST" "route"="/v1/namespaces/{ns}/batches" "namespace"="default" "job"="" "run"="" "created"="" "requestID"="id" "code"=400`},
		"a 403":      {"POST", "/v1/namespaces/default/jobs/secret/runs", "", `"method"="POST" "route"="/v1/namespaces/{ns}/jobs/{job}/runs" "namespace"="default" "job"="secret" "run"="" "created"="" "requestID"="id" "code"=403`},
		"a panic":    {"POST", "/v1/namespaces/panic/batches", "", `"method"="POST" "route"="/v1/namespaces/{ns}/batches" "namespace"="panic" "job"="" "run"="" "created"="" "requestID"="id" "code"=500`},
		"a read":     {"GET", "/v1/namespaces/default/runs/a", "", ""},
		"a stranger": {"POST", syncPath, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			g, logged := audited(t)
			g.denied["trigger default/jobdefinitions/secret"] = true
			g.panicIn("panic")
			token := "Bearer ann"
			if name == "a stranger" {
				token = ""
			}
			g.send(tc.method, tc.path, tc.body, "X-Request-Id", "id", "Authorization", token)
			want := ""
			if tc.want != "" {
				want = user + tc.want
			}
			if got := strings.Join(*logged, "|"); got != want {
				t.Errorf("%s\nwant %s", got, want)
			}
		})
	}
}

// The line in docs/operations.md has the fields of a line, in their order.
func TestAuditAsDocumented(t *testing.T) {
	page, err := os.ReadFile(checkout.Path("docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := regexp.MustCompile(`(?m)^\{.*"logger":"gateway\.audit".*\}$`).FindString(string(page))
	g, logged := audited(t)
	g.send("POST", syncPath, "{}")
	const message = `"msg"="Answered a caller" `
	_, fields, _ := strings.Cut((*logged)[0], message)
	_, documented, found := strings.Cut(documented, strings.ReplaceAll(strings.TrimSpace(message), "=", ":"))
	if got, want := namesIn(documented, ":"), namesIn(fields, "="); !found || !slices.Equal(got, want) {
		t.Errorf("documented are %q, want %q", got, want)
	}
}

// namesIn returns the names of the fields in a line.
func namesIn(line, separator string) (names []string) {
	for _, match := range regexp.MustCompile(`"(\w+)"`+separator).FindAllStringSubmatch(line, -1) {
		names = append(names, match[1])
	}
	return names
}

// The line of a trigger names the JobRun that it created.
func TestAuditOfATrigger(t *testing.T) {
	g, logged := audited(t)
	var answer TriggerAnswer
	g.send("POST", syncPath, "{}").decode(&answer)
	g.send("POST", syncPath+"?dryRun=All", "{}")
	if len(*logged) != 2 || !strings.Contains((*logged)[1], `"job"="sync" "run"="" "created"="" `) || !strings.Contains((*logged)[0], `"job"="sync" "run"="" "created"="`+answer.Trigger+`" `) || answer.Trigger == "" {
		t.Errorf("%v, created %q", *logged, answer.Trigger)
	}
}

// panicIn makes a question about a right in a namespace panic.
func (g *gate) panicIn(namespace string) {
	calm := g.Authorizer
	g.Authorizer = authorizer.AuthorizerFunc(func(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		if a.GetNamespace() == namespace {
			panic("no")
		}
		return calm.Authorize(ctx, a)
	})
}
