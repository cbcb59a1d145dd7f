// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"fmt"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/schedule"
)

// rightsTimeout bounds one question. It leaves the other half of admissionTimeout to the reservation.
const rightsTimeout = 4 * time.Second

// definitionResource is the resource that has the virtual verb trigger.
var definitionResource = v1alpha1.GroupVersion.WithResource("jobdefinitions").GroupResource()

// rights asks what the user of a request may do beyond writing the object itself. config/policy/rights.yaml asks the same, for
// the time in which the API server goes on without the webhook.
type rights struct {
	// authorizer answers. If it is nil, everything is allowed.
	authorizer authorizer.Authorizer
	// operator is the name of the user who needs none of these rights. An empty name is nobody's.
	operator string
	// gateway is the name of the user who triggers for others. An empty name is nobody's.
	gateway string
}

func newRights(o Options) rights {
	return rights{authorizer: o.Authorizer, operator: o.Operator, gateway: o.Gateway}
}

// isOperator reports whether the operator sent a request. It is true if the operator's name is not known.
func (r rights) isOperator(req admission.Request) bool {
	return r.operator == "" || req.UserInfo.Username == r.operator
}

// isGateway reports whether the gateway sent a request.
func (r rights) isGateway(req admission.Request) bool {
	return r.gateway != "" && req.UserInfo.Username == r.gateway
}

// isReceiver reports whether the gateway sent a request for the receiver that the label of the run names. The callers of the
// gateway may send such a label, too, but none of them has the user name of a receiver.
func (r rights) isReceiver(req admission.Request, run *v1alpha1.JobRun) bool {
	name, named := run.Labels[v1alpha1.LabelReceiver]
	return named && r.isGateway(req) &&
		run.Annotations[v1alpha1.AnnotationTriggeredBy] == v1alpha1.ReceiverUser(req.Namespace, run.Spec.JobName, name)
}

// right is one verb on one resource in the namespace of a request.
type right struct {
	attributes authorizer.AttributesRecord
	// why says what needs the right, and rule is the rule of a Role that grants it.
	why, rule string
}

// checkTrigger returns nil if the user of a request may trigger the run. Otherwise it returns a 403 that names the right, or a
// 503 if the right is not known. A jobName that is too long is a 422, so that nobody fills the authorizer's cache with it. An
// empty one is not looked up, because the schema refuses it.
func (r rights) checkTrigger(ctx context.Context, req admission.Request, run *v1alpha1.JobRun) *apierrors.StatusError {
	needed := triggerJob("a JobRun without spec.template", run.Spec.JobName)
	switch {
	case run.Spec.Template != nil:
		needed = createJobs("a JobRun with spec.template")
	case run.Spec.JobName == "":
		return nil
	case len(run.Spec.JobName) > validation.DNS1123LabelMaxLength:
		tooLong := field.TooLong(field.NewPath("spec", "jobName"), "", validation.DNS1123LabelMaxLength)
		return newInvalid(run.Name, field.ErrorList{tooLong})
	}
	denial, err := r.ask(ctx, req, needed)
	return refusal(ctx, denial, err, func(why error) *apierrors.StatusError { return apierrors.NewForbidden(resource, run.Name, why) })
}

// checkDefinition returns nil if the user of a request may write a definition. old is nil on CREATE. A template needs the right to
// create Jobs, and a schedule or a receiver the right to trigger the job, because the operator and the gateway do this with their
// own rights. What stays the same, or goes, needs no right. Otherwise checkDefinition returns the errors of checkTrigger.
func (r rights) checkDefinition(ctx context.Context, req admission.Request, old, new *v1alpha1.JobDefinition) *apierrors.StatusError {
	if old == nil {
		old = &v1alpha1.JobDefinition{}
	}
	var needs []right
	if new.Spec.Template != nil && !apiequality.Semantic.DeepEqual(old.Spec.Template, new.Spec.Template) {
		needs = append(needs, createJobs("writing spec.template of a JobDefinition"))
	}
	if name := newSchedule(old.Spec.Schedules, new.Spec.Schedules); name != "" {
		needs = append(needs, triggerJob(fmt.Sprintf("writing the schedule %q of a JobDefinition", name), new.Name))
	}
	if name := newReceiver(old.Spec.Receivers, new.Spec.Receivers); name != "" {
		needs = append(needs, triggerJob(fmt.Sprintf("writing the receiver %q of a JobDefinition", name), new.Name))
	}
	for _, needed := range needs {
		denial, err := r.ask(ctx, req, needed)
		denied := refusal(ctx, denial, err, func(why error) *apierrors.StatusError {
			return apierrors.NewForbidden(definitionResource, new.Name, why)
		})
		if denied != nil {
			return denied
		}
	}
	return nil
}

// newSchedule returns the name of a schedule by which an update makes the operator trigger what it did not trigger before; empty if
// there is none. A schedule that stays the same, is suspended or goes is not one.
func newSchedule(old, new []v1alpha1.JobSchedule) string {
	for i := range new {
		if before := schedule.Find(old, new[i].Name); before == nil || triggersOtherwise(*before, new[i]) {
			return new[i].Name
		}
	}
	return ""
}

func triggersOtherwise(before, now v1alpha1.JobSchedule) bool {
	resumed := ptr.Deref(before.Suspend, false) && !ptr.Deref(now.Suspend, false)
	otherInput := !sameInput(before.Input, now.Input)
	before.Suspend, now.Suspend, before.Input, now.Input = nil, nil, nil, nil
	return resumed || otherInput || before != now
}

// newReceiver returns the name of a receiver that an update adds or changes; empty if there is none.
func newReceiver(old, new []v1alpha1.JobReceiver) string {
	for i := range new {
		same := func(before v1alpha1.JobReceiver) bool { return apiequality.Semantic.DeepEqual(before, new[i]) }
		if !slices.ContainsFunc(old, same) {
			return new[i].Name
		}
	}
	return ""
}

// triggerJob is the right to trigger a job. what needs it.
func triggerJob(what, name string) right {
	return right{
		attributes: authorizer.AttributesRecord{
			Verb: v1alpha1.VerbTrigger, APIGroup: definitionResource.Group, APIVersion: v1alpha1.GroupVersion.Version,
			Resource: definitionResource.Resource, Name: name,
		},
		why: fmt.Sprintf("%s needs the verb trigger on %s %q", what, definitionResource, name),
		rule: fmt.Sprintf("{apiGroups: [%s], resources: [%s], resourceNames: [%s], verbs: [%s]}",
			definitionResource.Group, definitionResource.Resource, name, v1alpha1.VerbTrigger),
	}
}

func createJobs(what string) right {
	return right{
		attributes: authorizer.AttributesRecord{
			Verb: "create", APIGroup: batchv1.GroupName, APIVersion: batchv1.SchemeGroupVersion.Version, Resource: jobResource.Resource,
		},
		why:  what + " needs the verb create on jobs.batch",
		rule: "{apiGroups: [batch], resources: [jobs], verbs: [create]}",
	}
}

// ask returns why the user of a request does not have a right, or nil if the user has it. err means that the answer is not known.
func (r rights) ask(ctx context.Context, req admission.Request, needed right) (denial, err error) {
	if r.authorizer == nil || (r.operator != "" && req.UserInfo.Username == r.operator) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, rightsTimeout)
	defer cancel()
	attributes := needed.attributes
	attributes.User, attributes.Namespace, attributes.ResourceRequest = userOf(req.UserInfo), req.Namespace, true
	decision, reason, err := r.authorizer.Authorize(ctx, attributes)
	switch {
	case err != nil:
		return nil, err
	case decision == authorizer.DecisionAllow:
		return nil, nil
	case reason != "":
		reason = " (" + reason + ")"
	}
	return fmt.Errorf("%s, which user %q does not have in namespace %q%s; this rule of a Role grants it: %s",
		needed.why, req.UserInfo.Username, req.Namespace, reason, needed.rule), nil
}

// refusal makes the answer to what ask returned.
func refusal(ctx context.Context, denial, err error, forbidden func(error) *apierrors.StatusError) *apierrors.StatusError {
	switch {
	case err != nil:
		log.FromContext(ctx).Error(err, "Cannot look up the rights of a user")
		return apierrors.NewServiceUnavailable("the rights of the user could not be looked up, try again: " + err.Error())
	case denial != nil:
		forbiddenRequests.Inc()
		log.FromContext(ctx).Info("Refused a user without the right", "reason", denial.Error())
		return forbidden(denial)
	default:
		return nil
	}
}

func userOf(info authenticationv1.UserInfo) user.Info {
	u := &user.DefaultInfo{Name: info.Username, UID: info.UID, Groups: info.Groups}
	if len(info.Extra) > 0 {
		u.Extra = make(map[string][]string, len(info.Extra))
		for key, values := range info.Extra {
			u.Extra[key] = values
		}
	}
	return u
}
