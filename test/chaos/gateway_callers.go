// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	api "github.com/jobrun-dev/jobrun/internal/gateway"
)

const (
	// gatewayShare is the number of callers of which one speaks to the gateways.
	gatewayShare = 6
	// stormLeast and stormMost bound the triggers that a caller sends at once, or as the lines of one stream.
	stormLeast, stormMost = 3, 16
	// waitMost bounds the parameter wait.
	waitMost = 3 * time.Second
	// briefTTL is the ttlSecondsAfterFinished of a brief crowd's triggers at a gateway.
	briefTTL = 2
)

// gatewayCaller is a caller who speaks to the gateways. Each of its requests goes to one that it draws.
type gatewayCaller struct {
	*caller
	token, user string
}

func (c *caller) atGateway() *gatewayCaller {
	account := c.number / gatewayShare % len(c.tokens)
	return &gatewayCaller{
		caller: c, token: c.tokens[account], user: fmt.Sprintf("system:serviceaccount:%s:%s", c.namespace, accountName(account)),
	}
}

// act does one thing and waits for the answers, even if the crowd must end meanwhile. Most of the triggers are storms: several
// triggers that differ in their inputs alone.
func (c *gatewayCaller) act() {
	c.count++
	g := c.gateways[c.random.IntN(len(c.gateways))]
	switch n := c.random.IntN(100); {
	case n < 6 && len(c.names) > 0:
		c.change(g, cancelRun, http.MethodPost, c.earlier(), "/cancel")
	case n < 10 && len(c.names) > 0:
		c.change(g, deleteRun, http.MethodDelete, c.earlier(), "")
	case n < 40:
		c.lines(g, c.storm())
	case n < 65:
		c.atOnce(g, c.storm())
	default:
		c.post(g, c.newTrigger(), c.wait())
	}
}

// wait draws the parameter wait of a trigger.
func (c *gatewayCaller) wait() time.Duration {
	if c.random.IntN(3) > 0 {
		return 0
	}
	return time.Duration(c.random.Int64N(int64(waitMost)))
}

// storm draws triggers that may share a JobRun: those of a hot key.
func (c *gatewayCaller) storm() []api.BatchItem {
	key := fmt.Sprintf("hot-%d", 2*c.random.IntN((c.hotKeys+1)/2)) // of the workers: see drawKey
	return c.stormOf(key, stormLeast+c.random.IntN(stormMost-stormLeast))
}

// stormOf returns triggers of a key that may share a JobRun.
func (c *gatewayCaller) stormOf(key string, size int) []api.BatchItem {
	storm := make([]api.BatchItem, size)
	for i := range storm {
		storm[i] = c.newItem()
		storm[i].ConcurrencyKey, storm[i].Coalesce = key, v1alpha1.CoalesceSkip
		storm[i].LeaseDurationSeconds, storm[i].OnLeaseExpired = workerLease, v1alpha1.OnLeaseExpiredRequeue
	}
	return storm
}

// newTrigger draws a trigger as other callers send it, but that a worker executes it: the gateway takes no template.
func (c *gatewayCaller) newTrigger() api.BatchItem {
	run := c.newRun("")
	spec := &run.Spec
	item := c.newItem()
	item.ConcurrencyKey, item.Coalesce, item.IdempotencyKey = spec.ConcurrencyKey, spec.Coalesce, spec.IdempotencyKey
	item.LeaseDurationSeconds, item.OnLeaseExpired = workerLease, spec.OnLeaseExpired
	return item
}

func (c *gatewayCaller) newItem() api.BatchItem {
	item := api.BatchItem{JobName: jobByWorker}
	if c.brief {
		item.TTLSecondsAfterFinished = new(int32(briefTTL))
	}
	return item
}

// begin returns the request of a trigger, which the input names.
func (c *gatewayCaller) begin(g *gateway, item *api.BatchItem) request {
	asked := request{
		ID: string(uuid.NewUUID()), Gateway: g.name, Verb: trigger, Namespace: c.namespace, User: c.user, JobName: item.JobName,
		ConcurrencyKey: item.ConcurrencyKey, IdempotencyKey: item.IdempotencyKey, Skip: item.Coalesce == v1alpha1.CoalesceSkip,
		Sent: c.clock.now(), Outcome: unknown,
	}
	item.Input = &apiextensionsv1.JSON{Raw: fmt.Appendf(nil, `{"caller": %d, "n": %d, "id": %q}`, c.number, c.count, asked.ID)}
	return asked
}

// end logs a trigger with its answer.
func (c *gatewayCaller) end(asked *request) {
	asked.Answered = c.clock.now()
	c.log.add(*asked)
}

// atOnce sends triggers, each with a request of its own, and returns them with their answers.
func (c *gatewayCaller) atOnce(g *gateway, items []api.BatchItem) []request {
	answered := make([]request, len(items))
	var sending sync.WaitGroup
	for i := range items {
		sending.Go(func() { answered[i] = c.send(g, items[i], 0) })
	}
	sending.Wait()
	c.remember(answered...)
	return answered
}

// post sends one trigger.
func (c *gatewayCaller) post(g *gateway, item api.BatchItem, wait time.Duration) {
	c.remember(c.send(g, item, wait))
}

// remember keeps the names of accepted triggers.
func (c *gatewayCaller) remember(answered ...request) {
	for i := range answered {
		if answered[i].Outcome == accepted {
			c.names = append(c.names, answered[i].Name)
		}
	}
}

// send sends one trigger, and returns it with its answer.
func (c *gatewayCaller) send(g *gateway, item api.BatchItem, wait time.Duration) request {
	g.underWay.Add(1)
	defer g.underWay.Add(-1)
	asked := c.begin(g, &item)
	defer c.end(&asked)
	path := "/jobs/" + item.JobName + "/runs"
	if wait > 0 {
		path += "?wait=" + wait.String()
	}
	body, err := json.Marshal(item.TriggerRequest)
	if err != nil {
		asked.Error = err.Error()
		return asked
	}
	code, text, err := c.do(g, http.MethodPost, path, body)
	switch {
	case err != nil:
		asked.fail(err)
	case code == http.StatusOK || code == http.StatusCreated:
		asked.takeAnswer(text)
	default:
		asked.takeStatus(code, text)
	}
	return asked
}

// change cancels or deletes a JobRun.
func (c *gatewayCaller) change(g *gateway, v verb, method, name, action string) {
	asked := request{Gateway: g.name, Verb: v, Namespace: c.namespace, Name: name, Sent: c.clock.now(), Outcome: unknown}
	defer c.end(&asked)
	code, text, err := c.do(g, method, "/runs/"+name+action, nil)
	switch {
	case err != nil:
		asked.fail(err)
	case code == http.StatusOK:
		asked.Outcome = accepted
	default:
		asked.takeStatus(code, text)
	}
}

// do sends a request and returns the whole answer.
func (c *gatewayCaller) do(g *gateway, method, path string, body []byte) (code int, text []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	response, err := c.open(ctx, g, method, path, "application/json", body)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	text, err = io.ReadAll(response.Body)
	return response.StatusCode, text, err
}

func (c *gatewayCaller) open(ctx context.Context, g *gateway, method, path, kind string, body []byte) (*http.Response, error) {
	address := "https://" + g.front.Listen + "/v1/namespaces/" + c.namespace + path
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("Content-Type", kind)
	var sent atomic.Bool
	r = r.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }}))
	response, err := g.client.Do(r)
	if err != nil && !sent.Load() {
		err = fmt.Errorf("%w: %w", errUnsent, err)
	}
	return response, err
}

// errUnsent means that there was no connection to send a request on.
var errUnsent = errors.New("not sent")

// fail records that no answer came.
func (r *request) fail(err error) {
	if r.Error = err.Error(); errors.Is(err, errUnsent) {
		r.Outcome = refused
	}
}

// lines sends triggers as the lines of one stream. What breaks the stream is the answer of all lines that have none.
func (c *gatewayCaller) lines(g *gateway, items []api.BatchItem) {
	g.underWay.Add(int64(len(items)))
	defer g.underWay.Add(-int64(len(items)))
	asked := make([]request, len(items))
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	for i := range items {
		asked[i] = c.begin(g, &items[i])
		_ = encoder.Encode(items[i]) // a trigger always has a JSON form
	}
	n, others := c.stream(g, body.Bytes(), asked)
	for i := range asked[n:] {
		others(&asked[n+i])
		c.end(&asked[n+i])
	}
	c.remember(asked...)
}

// stream sends the lines and logs those that are answered. It returns how many are, and what the others are answered.
func (c *gatewayCaller) stream(g *gateway, body []byte, asked []request) (n int, others func(*request)) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	response, err := c.open(ctx, g, http.MethodPost, "/batches", "application/x-ndjson", body)
	if err != nil {
		return 0, func(r *request) { r.fail(err) }
	}
	defer response.Body.Close()
	if code := response.StatusCode; code != http.StatusOK {
		text, err := io.ReadAll(response.Body)
		if err != nil {
			return 0, func(r *request) { r.Error = err.Error() }
		}
		return 0, func(r *request) { r.takeStatus(code, text) }
	}
	answers := bufio.NewScanner(response.Body)
	for ; n < len(asked) && answers.Scan(); n++ {
		if err := asked[n].takeLine(n+1, answers.Bytes()); err != nil {
			return n, func(r *request) { r.Error = err.Error() }
		}
		c.end(&asked[n])
	}
	return n, func(r *request) { r.Error = fmt.Sprintf("the stream ended after %d lines: %v", n, answers.Err()) }
}

// takeAnswer records the answer to an accepted trigger.
func (r *request) takeAnswer(text []byte) {
	var answer api.TriggerAnswer
	if err := json.Unmarshal(text, &answer); err != nil {
		r.Error = err.Error()
		return
	}
	r.accept(&answer)
}

func (r *request) accept(answer *api.TriggerAnswer) {
	r.Outcome, r.Name, r.Run = accepted, answer.Trigger, answer.Run
	r.Disposition, r.KeyVersion, r.Phase = answer.Disposition, answer.KeyVersion, answer.Phase
}

// takeLine records one line of a stream's answer. It returns an error for what is no answer to the line, such as a part of one.
func (r *request) takeLine(number int, text []byte) error {
	var line api.LineAnswer
	if err := json.Unmarshal(text, &line); err != nil {
		return err
	}
	switch {
	case line.Line != number:
		return fmt.Errorf("line %d is answered with line %d", number, line.Line)
	case line.Answer != nil:
		r.accept(line.Answer)
	case line.Status != nil:
		r.refuse(line.Status)
	}
	return nil
}

// takeStatus records an answer that is an error.
func (r *request) takeStatus(code int, text []byte) {
	var status metav1.Status
	if err := json.Unmarshal(text, &status); err != nil || int(status.Code) != code {
		r.Error = fmt.Sprintf("%d without a Status: %s", code, text)
		return
	}
	r.refuse(&status)
}

// refuse records an error. With the codes 500 and 504 it is not known what was done.
func (r *request) refuse(status *metav1.Status) {
	r.Error, r.Outcome = fmt.Sprintf("%d %s", status.Code, status.Message), refused
	if status.Code == http.StatusInternalServerError || status.Code == http.StatusGatewayTimeout {
		r.Outcome = unknown
	}
	if status.Details == nil {
		return
	}
	if r.Name == "" && r.Outcome == unknown {
		r.Name = status.Details.Name
	}
	for _, cause := range status.Details.Causes {
		if cause.Type == v1alpha1.CausePendingRun || cause.Type == v1alpha1.CauseReservedRun {
			r.Outcome, r.Pending = conflict, cause.Message
		}
	}
}
