// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/definition"
	"github.com/jobrun-dev/jobrun/internal/gateway/group"
	"github.com/jobrun-dev/jobrun/internal/gateway/signature"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// Ignored is the answer to a delivery that triggers nothing.
type Ignored struct {
	Ignored string `json:"ignored" doc:"Why the delivery triggers nothing."`
}

// maxCompiledReceivers bounds the compiled receivers in memory. One with two large expressions takes some 400 KB.
const maxCompiledReceivers = 128

// What became of a delivery, in metrics.
const (
	deliveryTriggered    = "triggered"
	deliveryIgnored      = "ignored"
	deliveryUnauthorized = "unauthorized"
	deliveryRefused      = "refused"
	// unknownType is the type of a receiver that does not exist.
	unknownType = "unknown"
)

// receive answers POST /v1/hooks/{ns}/{definition}/{receiver}: a delivery of another system, which a signature and not a token lets
// in. Whatever is wrong with the address, the Secret or the signature, the answer is the same 401.
func (s *Server) receive(w http.ResponseWriter, r *http.Request) error {
	switch {
	case s.Receivers == nil:
		return failed(http.StatusNotFound, metav1.StatusReasonNotFound, "this gateway takes no deliveries: it was started without --gateway-receivers")
	case !isClosed(s.Receivers.Synced):
		return unavailable("the gateway has not read the receivers yet, try again")
	}
	address := addressOf(r)
	leave, err := s.enterDelivery(address)
	if err != nil {
		return err
	}
	defer leave()
	if !signature.IsPresent(r.Header) { // This tells nothing about the address, and costs nothing.
		s.metrics.deliveries.WithLabelValues(unknownType, deliveryUnauthorized).Inc()
		return unverified()
	}
	to, problem, err := s.Receivers.find(r.Context(), namespaceOf(r), r.PathValue(pathDefinition), r.PathValue(pathReceiver))
	if err != nil {
		s.Log.Error(err, "Cannot look up a receiver", "requestID", requestIDOf(r.Context()))
		return unavailable("the receiver could not be looked up, try again")
	}
	checker := checkerOf(to, r.Header)
	body, done, err := s.readDelivery(w, r, incoming{address, checker, to != nil && len(to.secrets) > 0})
	if err != nil {
		return err
	}
	defer done()
	if err := s.verify(r, to, problem, checker); err != nil {
		return err
	}
	result, err := s.take(w, r, to, body, done)
	s.metrics.deliveries.WithLabelValues(string(to.Type), result).Inc()
	return err
}

// addressOf returns what the path names. All paths that name nothing legal are one.
func addressOf(r *http.Request) string {
	names := []string{namespaceOf(r), r.PathValue(pathDefinition), r.PathValue(pathReceiver)}
	if slices.ContainsFunc(names, func(name string) bool { return len(validation.IsDNS1123Label(name)) > 0 }) {
		return unknownType
	}
	return "/" + strings.Join(names, "/")
}

// enterDelivery counts a delivery until leave is called. It returns a 429 if too many are under way.
func (s *Server) enterDelivery(address string) (leave func(), err error) {
	leaveAll, err := s.deliveries.enter("receivers", "")
	if err != nil {
		return nil, err
	}
	leaveOne, err := s.receiverDeliveries.enter("the receiver", address)
	if err != nil {
		leaveAll()
		return nil, err
	}
	return func() {
		leaveOne()
		leaveAll()
	}, nil
}

// unverified is the 401 of every delivery whose sender is not known.
func unverified() error {
	return unauthorized("there is no such receiver, or the signature is not that of its secret")
}

// checkerOf returns what checks a delivery. It does the same work for a receiver that does not exist.
func checkerOf(to *receiver, header http.Header) *signature.Checker {
	if to == nil || len(to.secrets) == 0 {
		return signature.NewChecker(v1alpha1.ReceiverHMAC, header, nil)
	}
	return signature.NewChecker(to.Type, header, to.secrets)
}

// verify returns nil if the signature of a delivery is right, and notes who triggers. problem is why the receiver has no secrets.
func (s *Server) verify(r *http.Request, to *receiver, problem string, checker *signature.Checker) error {
	kind, err := unknownType, checker.Check(s.Clock.Now())
	if to != nil {
		kind = string(to.Type)
	}
	if err != nil {
		s.metrics.deliveries.WithLabelValues(kind, deliveryUnauthorized).Inc()
		s.logUnverified(r, to, problem, err)
		return unverified()
	}
	traceOf(r.Context()).caller = &user.DefaultInfo{Name: to.user()}
	return nil
}

// logUnverified says why a delivery was refused, which the answer does not. A line about a receiver that does not exist takes the same
// time as one about another.
func (s *Server) logUnverified(r *http.Request, to *receiver, problem string, err error) {
	reason := cmp.Or(problem, err.Error())
	if to == nil {
		reason = "there is no such receiver"
	}
	s.Log.Info("Refused a delivery", "receiver", addressOf(r), "reason", reason, "requestID", requestIDOf(r.Context()))
}

// take triggers a run by a delivery whose signature is right, unless its receiver ignores it, and writes the answer. result is what
// became of the delivery. done frees the body.
func (s *Server) take(w http.ResponseWriter, r *http.Request, to *receiver, body signature.Body, done func()) (result string, err error) {
	leave, err := s.namespaces.enter("namespace "+to.namespace, to.namespace)
	if err != nil {
		return deliveryRefused, err
	}
	defer leave()
	id, err := deliveryID(to, r.Header)
	if err != nil {
		return deliveryRefused, err
	}
	given := evaluation{ignored: ignoredByHeaders(to, r.Header)}
	if given.ignored == "" {
		if given, err = s.evaluate(r, to, body); err != nil {
			return deliveryRefused, err
		}
	}
	if done(); given.ignored != "" {
		return deliveryIgnored, s.writeJSON(w, http.StatusOK, Ignored{given.ignored})
	}
	triggered, err := s.triggerBy(r, to, given.input, deliveryKey(to.Name, id))
	if err != nil {
		return deliveryRefused, err
	}
	return deliveryTriggered, s.answerTrigger(w, r, triggered, 0)
}

// evaluateBy evaluates the expressions of a receiver.
func (s *Server) evaluateBy(ctx context.Context, to *receiver, delivery *definition.Delivery) (evaluation, error) {
	compiled, errs := s.compiledReceiver(to)
	if len(errs) > 0 {
		return evaluation{}, invalidReceiver(to, errs)
	}
	ctx, cancel := context.WithTimeout(ctx, evaluationTimeout)
	defer cancel()
	accepts, problem := compiled.Accepts(ctx, delivery)
	switch {
	case problem != nil && ctx.Err() != nil:
		return evaluation{}, outOfTime()
	case problem != nil:
		return evaluation{}, invalidReceiver(to, field.ErrorList{problem})
	case !accepts:
		return evaluation{ignored: "filterExpression is false"}, nil
	}
	input, err := compiled.Input(ctx, delivery)
	var large *definition.InputTooLargeError
	switch {
	case err != nil && ctx.Err() != nil:
		return evaluation{}, outOfTime()
	case errors.As(err, &large):
		return evaluation{}, inputTooLarge(large)
	case errors.As(err, &problem):
		return evaluation{}, invalidReceiver(to, field.ErrorList{problem})
	default:
		return evaluation{input: input}, err
	}
}

// outOfTime is a 503 for a delivery that could not be evaluated in time. That is not the fault of its expressions.
func outOfTime() error {
	return unavailable("the gateway had no time to evaluate the delivery, try again")
}

// receiverKey identifies what a receiver says.
type receiverKey struct {
	generation

	name string
}

// compiledReceiver returns the compiled expressions of a receiver, or what is wrong with them. The webhook has refused wrong ones,
// unless it was not called.
func (s *Server) compiledReceiver(to *receiver) (*definition.Receiver, field.ErrorList) {
	key := receiverKey{generation{to.of.UID, to.of.Generation}, to.Name}
	if known, ok := s.compiledReceivers.Get(key); ok {
		return known.(*definition.Receiver), nil
	}
	compiled, errs := definition.CompileReceiver(to.JobReceiver, field.NewPath("spec", "receivers").Key(to.Name))
	if len(errs) > 0 {
		return nil, errs
	}
	s.compiledReceivers.Add(key, compiled)
	return compiled, nil
}

// invalidReceiver is a 422 about a field of a receiver.
func invalidReceiver(to *receiver, errs field.ErrorList) error {
	errs = slices.Clone(errs)
	for i, err := range errs {
		shown := *err
		shown.BadValue, shown.Detail = field.OmitValueType{}, short(err.Detail)
		errs[i] = &shown
	}
	return apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("JobDefinition").GroupKind(), to.of.Name, errs)
}

// inputTooLarge is a 413 that names inputExpression.
func inputTooLarge(err *definition.InputTooLargeError) error {
	refusal := failed(http.StatusRequestEntityTooLarge, metav1.StatusReasonRequestEntityTooLarge, "%v", err)
	refusal.ErrStatus.Details = &metav1.StatusDetails{Causes: []metav1.StatusCause{{
		Type: metav1.CauseTypeFieldValueInvalid, Field: err.Field.String(), Message: "the input is too large",
	}}}
	return refusal
}

// triggerBy triggers a run for a receiver. The trigger may have a key of its own, so it shares its JobRun with none.
func (s *Server) triggerBy(r *http.Request, to *receiver, input []byte, key string) (group.Answer, error) {
	spec := v1alpha1.JobRunSpec{JobName: to.of.Name, Input: &apiextensionsv1.JSON{Raw: input}, IdempotencyKey: key}
	labels := map[string]string{v1alpha1.LabelReceiver: to.Name}
	return s.create(r.Context(), func(ctx context.Context) (jobrun.TriggerResult, error) {
		return s.runs(r).Trigger(ctx, spec, triggerOptions(to.user(), labels)...)
	})
}
