// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/gateway"
)

// openAPI is what these specs read of /openapi.json: path, method, operation.
type openAPI struct {
	Paths map[string]map[string]struct {
		Responses   map[string]any
		Security    []any
		RequestBody any
	}
}

// operation is one method of one path, and the codes that the document has for it.
type operation struct {
	method, path  string
	codes         sets.Set[int]
	public, takes bool
}

func (d openAPI) operations() []operation {
	var all []operation
	for path, methods := range d.Paths {
		for method, described := range methods {
			o := operation{method: strings.ToUpper(method), path: path, codes: sets.New[int](), public: described.Security == nil, takes: described.RequestBody != nil}
			for text := range described.Responses {
				code, err := strconv.Atoi(text)
				Expect(err).NotTo(HaveOccurred())
				o.codes.Insert(code)
			}
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return all
}

var pathParameter = regexp.MustCompile(`\\\{\w+\\\}`)

// matches reports whether a request is for the operation.
func (o operation) matches(method, path string) bool {
	pattern := pathParameter.ReplaceAllString(regexp.QuoteMeta(o.path), "[^/]+")
	return o.method == method && regexp.MustCompile("^"+pattern+"$").MatchString(path)
}

// takesDeliveries reports whether a signature lets callers in, and not a token.
func (o operation) takesDeliveries() bool { return strings.HasPrefix(o.path, "/v1/hooks/") }

// of returns the path for a namespace, with a job and a run that does not exist.
func (o operation) of(namespace string) string {
	return strings.NewReplacer("{ns}", namespace, "{job}", job, "{run}", "nothing", "{definition}", job, "{receiver}", "nothing").Replace(o.path)
}

// produced has what specs were answered: method, path and code. documented is the OpenAPI document.
var produced struct {
	sync.Mutex

	answers    sets.Set[string]
	documented []operation
}

// observed remembers the answers that specs get.
type observed struct{ next http.RoundTripper }

// RoundTrip sends a request.
func (o observed) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := o.next.RoundTrip(r)
	if err == nil {
		produced.Lock()
		defer produced.Unlock()
		if produced.answers == nil {
			produced.answers = sets.New[string]()
		}
		produced.answers.Insert(fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, response.StatusCode))
	}
	return response, err
}

// CloseIdleConnections is for http.Client.
func (o observed) CloseIdleConnections() { o.next.(*http.Transport).CloseIdleConnections() }

// executedAll reports whether all specs were executed, and succeeded.
func executedAll(report Report) bool {
	return report.SuiteSucceeded && report.PreRunStats.SpecsThatWillRun == report.PreRunStats.TotalSpecs
}

// answered calls see for each answer that specs got.
func answered(see func(method, path string, code int)) {
	for answer := range produced.answers {
		parts := strings.Split(answer, " ")
		if code, err := strconv.Atoi(parts[2]); err == nil {
			see(parts[0], parts[1], code)
		}
	}
}

// The suite fails if the document has a code that no spec was answered with. It asks only if all specs were executed.
var _ = ReportAfterSuite("every documented code was produced", func(report Report) {
	if !executedAll(report) {
		return
	}
	Expect(produced.documented).NotTo(BeEmpty())
	var missing []string
	for _, o := range produced.documented {
		seen := sets.New[int]()
		answered(func(method, path string, code int) {
			if o.matches(method, path) {
				seen.Insert(code)
			}
		})
		for _, code := range sets.List(o.codes.Difference(seen)) {
			missing = append(missing, fmt.Sprintf("%s %s %d", o.method, o.path, code))
		}
	}
	Expect(missing).To(BeEmpty(), "the document has codes that no spec was answered with")
})

// The suite fails if a spec was answered with a code that the document does not have for its operation.
// What is for no operation is a 404 or a 405, or a preflight of CORS.
var _ = ReportAfterSuite("every code that was produced is documented", func(report Report) {
	if !executedAll(report) {
		return
	}
	unknown := sets.New[string]()
	answered(func(method, path string, code int) {
		i := slices.IndexFunc(produced.documented, func(o operation) bool { return o.matches(method, path) })
		switch {
		case i >= 0 && !produced.documented[i].codes.Has(code):
			unknown.Insert(fmt.Sprintf("%s %s %d", method, produced.documented[i].path, code))
		case i < 0 && code != http.StatusNotFound && code != http.StatusMethodNotAllowed && method != http.MethodOptions:
			unknown.Insert(fmt.Sprintf("%s %s %d", method, path, code))
		}
	})
	Expect(sets.List(unknown)).To(BeEmpty(), "specs were answered with codes that the document does not have")
})

var allowAll = authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
	return authorizer.DecisionAllow, "", nil
})

var _ = Describe("every route", func() {
	var operations []operation
	BeforeEach(func() {
		operations = decode[openAPI](gate.send("", "GET", "/openapi.json", "")).operations()
		produced.Lock()
		defer produced.Unlock()
		produced.documented = operations
	})

	It("refuses as the document says", func() {
		full := startGateway(func(o *gateway.Options) { o.CallerInFlight = 0 })
		drained := startGateway()
		drained.server.Drain()
		broken := startGateway(func(o *gateway.Options) {
			o.Authenticator = authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) { panic("this spec's") })
		})
		for _, o := range operations {
			if o.public {
				continue
			}
			By(o.method + " " + o.path)
			path := o.of(ns)
			if o.takesDeliveries() { // receivers_test.go gets its other codes
				refused(gate.send("", o.method, path, ""), 401)
				refused(gate.send("", o.method, path+"?nonsense=1", ""), 400)
				refused(drained.send("", o.method, path, ""), 503)
				continue
			}
			refused(gate.send("", o.method, path, ""), 401)
			refused(gate.send(editor, o.method, path+"?nonsense=1", ""), 400)
			refused(full.send(editor, o.method, path, ""), 429)
			refused(drained.send(editor, o.method, path, ""), 503)
			refused(broken.send(editor, o.method, path, ""), 500)
			Expect(o.codes.Has(403)).To(Equal(gate.send(nobody, o.method, path, "").code == 403), "403")
			if strings.Contains(o.path, "{") {
				refused(gate.send(editor, o.method, o.of("UPPER"), ""), 404)
			}
			if o.takes {
				refused(gate.send(editor, o.method, path, `"`+strings.Repeat("x", 5<<20)+`"`), 413)
				refused(gate.send(editor, o.method, path, "a=b", "Content-Type", "text/plain"), 415)
			}
		}
	})

	It("that lists answers a page that is too old with 410", func() {
		everybody := func(o *gateway.Options) { o.Authorizer = allowAll }
		fresh, stale := startGateway(everybody), startGateway(everybody, func(o *gateway.Options) {
			o.API = interceptor.NewClient(o.API, interceptor.Funcs{
				List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
					return apierrors.NewResourceExpired("The provided continue parameter is too old")
				},
			})
		})
		for _, o := range operations {
			if o.codes.Has(410) {
				Expect(fresh.send(editor, o.method, o.of(ns), "").code).To(Equal(200), o.path)
				refused(stale.send(editor, o.method, o.of(ns)+"?continue=old", ""), 410)
			}
		}
	})

	It("that is public answers", func() {
		for _, path := range []string{"/healthz", "/readyz"} {
			Eventually(func() int { return gate.send("", "GET", path, "").code }).Should(Equal(200))
		}
	})
})

var _ = Describe("a stream of events", func() {
	It("ends with its run, and is not begun again", func() {
		name := waiting()
		complete(name, "1")
		path := "/v1/namespaces/NS/events?run=" + name
		var whole answer
		Eventually(func() int { whole = gate.send(editor, "GET", path, ""); return whole.code }).Should(Equal(200))
		Expect(whole.body).To(ContainSubstring("event: run:complete"))
		Eventually(func() int { // the operator may write once more after the end
			return gate.send(editor, "GET", path, "", "Last-Event-ID", stored(name).ResourceVersion).code
		}).Should(Equal(204))
	})
})

var _ = Describe("the answer of the API server", func() {
	// answering starts a gateway whose API server answers writes with an error, and carries none out.
	answering := func(err error) *endpoint {
		return startGateway(func(o *gateway.Options) {
			o.API = interceptor.NewClient(o.API, interceptor.Funcs{
				Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return err },
				Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
					return err
				},
				Delete: func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error { return err },
			})
		})
	}

	It("is passed on", func() {
		path := "/v1/namespaces/NS/runs/" + waiting()
		jobRuns := v1alpha1.GroupVersion.WithResource("jobruns").GroupResource()
		conflicting := answering(apierrors.NewConflict(jobRuns, "a", errors.New("it was changed meanwhile")))
		refused(conflicting.send(editor, "POST", path+"/cancel", ""), 409)
		refused(conflicting.send(editor, "DELETE", path, ""), 409)
		invalid := answering(apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("JobRun").GroupKind(), "a", nil))
		refused(invalid.send(editor, "POST", path+"/cancel", ""), 422)
	})

	It("that is lost for good is a 504, which names the JobRun", func() {
		again := "/v1/namespaces/NS/runs/" + triggered(gate.send(editor, "POST", runs, "{}"), 201).Run + "/retrigger"
		lossy := answering(&url.Error{Op: "Post", Err: errors.New("EOF")})
		var requests sync.WaitGroup
		for path, body := range map[string]string{runs: "{}", batches: `{"items":[{"jobName":"sync"}]}`, again: ""} {
			requests.Go(func() {
				defer GinkgoRecover()
				Expect(refused(lossy.send(editor, "POST", path, body), 504).Details.Name).To(HavePrefix("sync-"), path)
			})
		}
		requests.Wait()
	})
})

var _ = Describe("a retrigger", func() {
	It("is absorbed by a waiting run if the definition says so", func() {
		definition := &v1alpha1.JobDefinition{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: job}}
		definition.Spec.Defaults = &v1alpha1.JobRunDefaults{ConcurrencyKey: "k", Coalesce: v1alpha1.CoalesceSkip}
		Expect(k8s.Create(ctx, definition)).To(Succeed())
		var name string
		Eventually(func() int { // the webhook sees the definition a moment later
			a := gate.send(editor, "POST", runs, "{}")
			name = decode[gateway.TriggerAnswer](a).Run
			return a.code
		}).Should(Equal(200))
		answer := triggered(gate.send(editor, "POST", "/v1/namespaces/NS/runs/"+name+"/retrigger", ""), 200)
		Expect(answer.Disposition).To(Equal(v1alpha1.DispositionCoalesced))
		Expect(answer.Run).To(Equal(name))
	})

	It("of a run with a template is refused, and takes no body", func() {
		run := &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "own"}, Spec: v1alpha1.JobRunSpec{JobName: job}}
		run.Spec.Input = &apiextensionsv1.JSON{Raw: []byte("1")}
		run.Spec.Template = podTemplate()
		Expect(k8s.Create(ctx, run)).To(Succeed())
		for _, action := range []string{"retrigger", "cancel"} {
			path := "/v1/namespaces/NS/runs/own/" + action
			refused(gate.send(editor, "POST", path, `"`+strings.Repeat("x", 300<<10)+`"`), 413)
			refused(gate.send(editor, "POST", path, "a=b", "Content-Type", "text/plain"), 415)
			refused(gate.send(editor, "POST", path, `{"input":1}`), 400)
		}
		refused(gate.send(editor, "POST", "/v1/namespaces/NS/runs/own/retrigger", ""), 422)
	})
})
