// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/executor"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// FencePath is the URL path of the fence. config/webhook names it too.
const FencePath = "/fence-batch-v1-job"

// onlyOperator ends each refusal, because its reader is usually a person who copied a Job.
const onlyOperator = "only the operator creates Jobs with the label " + v1alpha1.LabelRun

var (
	jobKind     = batchv1.SchemeGroupVersion.WithKind("Job").GroupKind()
	jobResource = batchv1.Resource("jobs")
)

// FenceHandler answers the creates of Jobs that have the label of a run. It allows a Job only while its run is leased
// under its token and generation, so a create that arrives late starts nothing.
type FenceHandler struct{ Options }

// NewFenceHandler makes a FenceHandler.
func NewFenceHandler(o Options) *FenceHandler { return &FenceHandler{o} }

// Handle answers one create.
func (h *FenceHandler) Handle(ctx context.Context, req admission.Request) admission.Response {
	ctx, cancel := context.WithTimeout(ctx, admissionTimeout)
	defer cancel()
	job, errs := decodeJob(req)
	if len(errs) == 0 {
		errs = validateJob(job)
	}
	if len(errs) > 0 {
		return refused(apierrors.NewInvalid(jobKind, req.Name, limitErrors(errs)))
	}
	var notLeased *notLeasedError
	switch err := h.checkLease(ctx, job); {
	case errors.As(err, &notLeased):
		fencedJobs.Inc()
		log.FromContext(ctx).Info("Refused a Job", "job", job.Name, "reason", notLeased.why)
		return refused(apierrors.NewConflict(jobResource, job.Name, err))
	case err != nil:
		return admission.Errored(http.StatusInternalServerError, err)
	default:
		return admission.Allowed("")
	}
}

// decodeJob reads the fields of a Job that name its run.
func decodeJob(req admission.Request) (*batchv1.Job, field.ErrorList) {
	var sent struct {
		Metadata struct {
			Name            string                  `json:"name"`
			Labels          map[string]string       `json:"labels"`
			Annotations     map[string]string       `json:"annotations"`
			OwnerReferences []metav1.OwnerReference `json:"ownerReferences"`
		} `json:"metadata"`
	}
	if errs := decode(req.Object.Raw, &sent, nil); len(errs) > 0 {
		return nil, errs
	}
	m := sent.Metadata
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Namespace: req.Namespace, Name: m.Name, Labels: m.Labels, Annotations: m.Annotations, OwnerReferences: m.OwnerReferences,
	}}, nil
}

// validateJob returns what keeps a Job from being one that the operator made. The operator ignores such Jobs later, so
// they must not come to exist.
func validateJob(job *batchv1.Job) field.ErrorList {
	metadata := field.NewPath("metadata")
	labels, annotations := metadata.Child("labels"), metadata.Child("annotations")
	generation, isKeyed := job.Annotations[v1alpha1.AnnotationGeneration], hasKey(job)
	switch {
	case job.Labels[v1alpha1.LabelRun] == "":
		return field.ErrorList{field.Required(labels.Key(v1alpha1.LabelRun), onlyOperator)}
	case isKeyed && v1alpha1.RunKeyKindOf(job.Labels[v1alpha1.LabelKey]) != v1alpha1.RunKeyConcurrency:
		return invalidField(labels.Key(v1alpha1.LabelKey), job.Labels[v1alpha1.LabelKey], "the name of a RunKey of a concurrencyKey")
	case job.Annotations[v1alpha1.AnnotationToken] == "":
		return field.ErrorList{field.Required(annotations.Key(v1alpha1.AnnotationToken), onlyOperator)}
	case generation == "":
		return field.ErrorList{field.Required(annotations.Key(v1alpha1.AnnotationGeneration), onlyOperator)}
	case executor.GenerationOf(job) == 0:
		return invalidField(metadata.Child("name"), job.Name, "<run>-<generation>")
	case generation != strconv.FormatInt(executor.GenerationOf(job), 10):
		return invalidField(annotations.Key(v1alpha1.AnnotationGeneration), generation, "the generation in the Job's name")
	case !executor.ExecutesRun(job):
		return invalidField(metadata.Child("ownerReferences"), job.OwnerReferences, "the JobRun in the label, as the controller")
	default:
		return nil
	}
}

func invalidField(path *field.Path, value any, want string) field.ErrorList {
	return field.ErrorList{field.Invalid(path, value, fmt.Sprintf("must be %s: %s", want, onlyOperator))}
}

func hasKey(job *batchv1.Job) bool {
	_, ok := job.Labels[v1alpha1.LabelKey]
	return ok
}

// notLeasedError means that the run of a Job is not leased under the token and generation of the Job.
type notLeasedError struct{ why string }

func (e *notLeasedError) Error() string { return e.why + ": " + onlyOperator }

// checkLease returns an error if the run of a Job is not leased under the token and generation of the Job. It reads the
// JobRun live and, if the run has a key, the RunKey beside it.
func (h *FenceHandler) checkLease(ctx context.Context, job *batchv1.Job) error {
	if !hasKey(job) {
		return h.checkRun(ctx, job)
	}
	var ofKey, ofRun error
	var reads sync.WaitGroup
	reads.Go(func() { ofKey = h.checkKey(ctx, job) })
	reads.Go(func() { ofRun = h.checkRun(ctx, job) })
	reads.Wait()
	return cmp.Or(ofKey, ofRun)
}

func (h *FenceHandler) checkRun(ctx context.Context, job *batchv1.Job) error {
	run := &v1alpha1.JobRun{}
	name := types.NamespacedName{Namespace: job.Namespace, Name: job.Labels[v1alpha1.LabelRun]}
	switch err := h.Live.Get(ctx, name, run); {
	case apierrors.IsNotFound(err):
		return &notLeasedError{fmt.Sprintf("JobRun %s does not exist", name.Name)}
	case err != nil:
		return fmt.Errorf("read JobRun %s: %w", name.Name, err)
	}
	if why := whyNoJob(run, job); why != "" {
		return &notLeasedError{fmt.Sprintf("JobRun %s %s", name.Name, why)}
	}
	return nil
}

func (h *FenceHandler) checkKey(ctx context.Context, job *batchv1.Job) error {
	id, name := executor.IdentityOf(job), job.Labels[v1alpha1.LabelKey]
	key, err := h.Keys.Live(ctx, types.NamespacedName{Namespace: job.Namespace, Name: name})
	switch {
	case err != nil:
		return err
	case key == nil || key.Spec.Leased == nil:
		return &notLeasedError{fmt.Sprintf("RunKey %s leases no run", name)}
	case runkey.Leases(&key.Spec, id, executor.GenerationOf(job)):
		return nil
	}
	leased := key.Spec.Leased
	why := fmt.Sprintf("RunKey %s leases generation %d of run %s", name, leased.Generation, leased.RunName)
	if leased.RunName == id.RunName && leased.Token != id.Token {
		why += " with another token"
	}
	return &notLeasedError{why}
}

// whyNoJob says why a run may not have a Job. It is empty if it may. With a key, the RunKey decides about the generation.
func whyNoJob(run *v1alpha1.JobRun, job *batchv1.Job) string {
	isKeyed := run.Spec.ConcurrencyKey != ""
	switch {
	case run.UID != metav1.GetControllerOf(job).UID || runkey.IdentityOf(run) != executor.IdentityOf(job):
		return "is another run of that name"
	case isKeyed && !hasKey(job):
		return "has a concurrencyKey, and the Job has no label " + v1alpha1.LabelKey
	case run.EndRequested():
		return "is being cancelled"
	case run.HasEnded() || run.IsReceipt(), !isKeyed && !runkey.LeasesItself(run, executor.GenerationOf(job)):
		return fmt.Sprintf("is %s, and its generation is %d", cmp.Or(string(run.Status.Phase), "without phase"), run.LeaseGeneration())
	default:
		return ""
	}
}
