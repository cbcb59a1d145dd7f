// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Runs is what a Client and a GatewayClient have in common, for programs that can use either one. See the methods of Client for
// what they promise.
type Runs interface {
	Trigger(ctx context.Context, spec v1alpha1.JobRunSpec, opts ...TriggerOption) (TriggerResult, error)
	TriggerDefined(ctx context.Context, jobName string, input any, opts ...TriggerOption) (TriggerResult, error)
	TriggerAndWait(ctx context.Context, spec v1alpha1.JobRunSpec, opts ...Option) (Outcome, error)
	Retrigger(ctx context.Context, name string, opts ...TriggerOption) (TriggerResult, error)
	Wait(ctx context.Context, name string, opts ...WaitOption) (Outcome, error)
	WaitFor(ctx context.Context, run *v1alpha1.JobRun, opts ...WaitOption) (Outcome, error)
	Get(ctx context.Context, name string) (*v1alpha1.JobRun, error)
	List(ctx context.Context, s Selector, phases ...v1alpha1.Phase) ([]v1alpha1.JobRun, error)
	Watch(ctx context.Context, selector Selector, opts ...WatchOption) (iter.Seq2[Event, error], error)
	BatchTrigger(ctx context.Context, items []BatchItem) ([]TriggerResult, error)
	Definition(ctx context.Context, jobName string) (*v1alpha1.JobDefinition, error)
	Definitions(ctx context.Context) ([]v1alpha1.JobDefinition, error)
	Cancel(ctx context.Context, name string) error
	Delete(ctx context.Context, name string) error
}

var (
	_ Runs = (*Client)(nil)
	_ Runs = (*GatewayClient)(nil)
)

// GatewayOptions say how to reach a gateway.
type GatewayOptions struct {
	// URL is the address of the gateway, for example https://jobrun-gateway.jobrun-system.svc.
	URL string
	// Token returns the bearer token of a request. It is called for each one, so it can return a new token in time.
	Token func(context.Context) (string, error)
	// HTTPClient sends the requests. It verifies the gateway's certificate, and must have no Timeout, because a wait is one long
	// request. A request that reads ends by itself when there is silence for 45 s. The default is http.DefaultClient.
	HTTPClient *http.Client
}

// GatewayClient triggers, reads and follows the JobRuns of one namespace through the gateway, by HTTP: its caller needs no
// Kubernetes client. The gateway does not take a name, annotations or a template for a JobRun: options and fields that ask for
// them are refused with a *ValidationError. It is safe for concurrent use.
type GatewayClient struct {
	options   GatewayOptions
	namespace string
	base      string
}

// NewForGateway returns a GatewayClient. It sends no request.
func NewForGateway(o GatewayOptions, namespace string) (*GatewayClient, error) {
	base, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the URL of the gateway: %w", err)
	case base.Scheme != "https" && base.Scheme != "http" || base.Host == "":
		return nil, fmt.Errorf("the URL of the gateway must be as https://HOST, not %q", o.URL)
	case o.Token == nil:
		return nil, errors.New("the gateway needs a token")
	}
	if errs := New(nil, namespace).validateNamespace(); len(errs) > 0 {
		return nil, invalid("", errs)
	}
	if o.HTTPClient == nil {
		o.HTTPClient = http.DefaultClient
	}
	return &GatewayClient{
		options: o, namespace: namespace, base: strings.TrimSuffix(o.URL, "/") + "/v1/namespaces/" + url.PathEscape(namespace),
	}, nil
}

// Get is Client.Get.
func (g *GatewayClient) Get(ctx context.Context, name string) (*v1alpha1.JobRun, error) {
	run := &v1alpha1.JobRun{}
	return run, g.onRun(ctx, http.MethodGet, name, "", run)
}

// Cancel is Client.Cancel.
func (g *GatewayClient) Cancel(ctx context.Context, name string) error {
	return g.onRun(ctx, http.MethodPost, name, "/cancel", &metav1.Status{})
}

// Delete is Client.Delete.
func (g *GatewayClient) Delete(ctx context.Context, name string) error {
	return g.onRun(ctx, http.MethodDelete, name, "", &metav1.Status{})
}

// onRun sends a request about one JobRun.
func (g *GatewayClient) onRun(ctx context.Context, method, name, action string, into any) error {
	if err := New(nil, g.namespace).checkName(name); err != nil {
		return err
	}
	return Classify(g.call(ctx, method, "/runs/"+name+action, nil, nil, into))
}

// gatewayPage is the largest page of a list that the gateway has.
const gatewayPage = "500"

// List is Client.List. It reads page by page, all of them as of the same time.
func (g *GatewayClient) List(ctx context.Context, s Selector, phases ...v1alpha1.Phase) ([]v1alpha1.JobRun, error) {
	query := s.query()
	if len(phases) == 1 {
		query.Set("phase", string(phases[0]))
	}
	runs, _, err := g.pages(ctx, query)
	if err != nil {
		return nil, Classify(err)
	}
	runs = slices.DeleteFunc(runs, func(run v1alpha1.JobRun) bool {
		return len(phases) > 0 && !slices.Contains(phases, run.Status.Phase)
	})
	slices.SortFunc(runs, older)
	return runs, nil
}

// query returns the parameters of a list.
func (s Selector) query() url.Values {
	query := url.Values{}
	for name, value := range map[string]string{"jobName": s.JobName, "key": s.ConcurrencyKey} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if s.Labels != nil {
		query.Set("labels", s.Labels.String())
	}
	return query
}

// pages reads all pages of a list of JobRuns. The version is that of all of them.
func (g *GatewayClient) pages(ctx context.Context, query url.Values) (runs []v1alpha1.JobRun, version string, err error) {
	query.Set("limit", gatewayPage)
	for {
		var page v1alpha1.JobRunList
		if err := g.call(ctx, http.MethodGet, "/runs", query, nil, &page); err != nil {
			return nil, "", err
		}
		runs = append(runs, page.Items...)
		if page.Continue == "" {
			return runs, page.ResourceVersion, nil
		}
		query.Set("continue", page.Continue)
	}
}

// call sends a request and decodes the answer.
func (g *GatewayClient) call(ctx context.Context, method, path string, query url.Values, body, into any) error {
	answer, err := g.open(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return &url.Error{Op: method, URL: g.base + path, Err: err}
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("the gateway's answer to %s %s: %w", method, path, err)
	}
	return nil
}

// open sends a request with pairs of headers, and returns the answer. The error of an answer that is no success is a
// *apierrors.StatusError.
func (g *GatewayClient) open(ctx context.Context, method, path string, query url.Values, body any, headers ...string) (*http.Response, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, &unsentError{err}
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, g.base+path, bytes.NewReader(text))
	if err != nil {
		return nil, &unsentError{err}
	}
	request.URL.RawQuery = query.Encode()
	token, err := g.options.Token(ctx)
	if err != nil {
		return nil, &unsentError{fmt.Errorf("get a token for the gateway: %w", err)}
	}
	request.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for pair := range slices.Chunk(headers, 2) {
		request.Header.Set(pair[0], pair[1])
	}
	send := g.options.HTTPClient.Do
	if method == http.MethodGet {
		send = g.get
	}
	answer, err := send(request)
	if err != nil || answer.StatusCode < http.StatusBadRequest {
		return answer, err
	}
	defer answer.Body.Close()
	return nil, refusalOf(answer, method)
}

// unsentError means that there was no request.
type unsentError struct{ error }

func (e *unsentError) Unwrap() error { return e.error }

// maxRefusalBytes bounds what is read of an answer that is no success.
const maxRefusalBytes = 1 << 20

// refusalOf returns the Status of an answer. What stands before the gateway, such as a proxy, may have sent another text.
func refusalOf(answer *http.Response, method string) error {
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxRefusalBytes))
	if err != nil {
		return &url.Error{Op: method, URL: answer.Request.URL.Redacted(), Err: err}
	}
	var status metav1.Status
	if json.Unmarshal(text, &status) == nil && status.Kind == "Status" && status.Code >= http.StatusBadRequest {
		return &apierrors.StatusError{ErrStatus: status}
	}
	return apierrors.NewGenericServerResponse(answer.StatusCode, method, resource, "", strings.TrimSpace(string(text)), 0, true)
}
