// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// receipt is a trigger that a run stands for.
type receipt struct {
	name        string
	disposition v1alpha1.Disposition
	created     *metav1.Time
	labels      map[string]string
	input       string
}

// gather reads the parts of a description.
func gather(ctx context.Context, c *cluster, run *v1alpha1.JobRun) (*description, error) {
	d := &description{run: run, hidden: map[string]bool{}}
	for what, read := range map[string]func(context.Context, *cluster) error{
		"runkeys": d.readKey, "receipts": d.readReceipts, "jobs": d.readJob, "pods": d.readPods,
	} {
		if err := d.orHide(what, read(ctx, c)); err != nil {
			return nil, err
		}
	}
	return d, d.orHide("events", d.readEvents(ctx, c))
}

func (d *description) orHide(what string, err error) error {
	if apierrors.IsForbidden(err) {
		d.hidden[what] = true
		return nil
	}
	return err
}

func (d *description) readKey(ctx context.Context, c *cluster) error {
	if d.run.Spec.ConcurrencyKey == "" || d.run.Outcome() != "" {
		return nil
	}
	name := v1alpha1.ConcurrencyKeyName(d.run.Spec.JobName, d.run.Spec.ConcurrencyKey)
	key := &v1alpha1.RunKey{}
	err := c.api.Get(ctx, types.NamespacedName{Namespace: d.run.Namespace, Name: name}, key)
	if err == nil {
		d.key = key
	}
	return client.IgnoreNotFound(err)
}

// readReceipts takes the receipts that exist, and the run's own record of those that were deleted.
func (d *description) readReceipts(ctx context.Context, c *cluster) error {
	if recorded := d.run.Status.Coalesced; recorded != nil {
		for _, t := range recorded.Recent {
			d.receipts = append(d.receipts, receipt{t.Name, v1alpha1.DispositionCoalesced, t.Time, t.Labels, t.Input})
		}
	}
	list := &v1alpha1.JobRunList{}
	err := c.api.List(ctx, list, client.InNamespace(d.run.Namespace),
		client.MatchingLabels{v1alpha1.LabelJobName: d.run.Spec.JobName})
	for i := range list.Items {
		if r := &list.Items[i]; r.IsReceipt() && r.Status.RunRef != nil && r.Status.RunRef.UID == d.run.UID {
			d.addReceipt(r)
		}
	}
	slices.SortStableFunc(d.receipts, func(a, b receipt) int {
		return cmp.Or(timeOf(a.created).Compare(timeOf(b.created)), cmp.Compare(a.name, b.name))
	})
	return err
}

// absorbed returns how many of the known receipts the run has absorbed.
func (d *description) absorbed() int64 {
	n := int64(0)
	for _, r := range d.receipts {
		if r.disposition == v1alpha1.DispositionCoalesced {
			n++
		}
	}
	return n
}

func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

// addReceipt replaces the record of a receipt by the receipt, which has the whole input.
func (d *description) addReceipt(r *v1alpha1.JobRun) {
	d.receipts = slices.DeleteFunc(d.receipts, func(known receipt) bool { return known.name == r.Name })
	d.receipts = append(d.receipts, receipt{
		r.Name, v1alpha1.Disposition(r.Status.Phase), &r.CreationTimestamp, r.CallersLabels(), jsonText(r.Spec.Input),
	})
}

func (d *description) readJob(ctx context.Context, c *cluster) error {
	ref := d.run.Status.JobRef
	if ref == nil {
		return nil
	}
	job := &batchv1.Job{}
	err := c.api.Get(ctx, types.NamespacedName{Namespace: d.run.Namespace, Name: ref.Name}, job)
	if err == nil && (ref.UID == "" || ref.UID == job.UID) {
		d.job = job
	}
	return client.IgnoreNotFound(err)
}

func (d *description) readPods(ctx context.Context, c *cluster) error {
	if !d.run.RunsAsJob() {
		return nil
	}
	var err error
	d.pods, err = c.podsOf(ctx, d.run)
	return err
}

// readEvents takes the events of the run, its Job and its Pods.
func (d *description) readEvents(ctx context.Context, c *cluster) error {
	about := []types.UID{d.run.UID}
	if d.run.Status.JobRef != nil && d.run.Status.JobRef.UID != "" {
		about = append(about, d.run.Status.JobRef.UID)
	}
	for i := range d.pods {
		about = append(about, d.pods[i].UID)
	}
	for _, uid := range about {
		events, err := c.eventsAbout(ctx, d.run.Namespace, uid)
		if err != nil {
			return err
		}
		d.events = append(d.events, events...)
	}
	slices.SortStableFunc(d.events, func(a, b corev1.Event) int {
		return cmp.Or(lastHappened(&a).Compare(lastHappened(&b)), older(a.ResourceVersion, b.ResourceVersion))
	})
	return nil
}

// eventsAbout returns the events about an object.
func (c *cluster) eventsAbout(ctx context.Context, namespace string, uid types.UID) ([]corev1.Event, error) {
	list := &corev1.EventList{}
	err := c.api.List(ctx, list, client.InNamespace(namespace),
		client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("involvedObject.uid", string(uid))})
	return list.Items, err
}

// happened returns when an event happened first, to the microsecond or the second.
func happened(e *corev1.Event) time.Time {
	switch {
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	case !e.FirstTimestamp.IsZero():
		return e.FirstTimestamp.Time
	default:
		return e.CreationTimestamp.Time
	}
}

// lastHappened returns when an event happened last.
func lastHappened(e *corev1.Event) time.Time {
	last := e.LastTimestamp.Time
	if e.Series != nil {
		last = e.Series.LastObservedTime.Time
	}
	if first := happened(e); first.After(last) {
		return first
	}
	return last
}

// occurrences returns how often an event happened.
func occurrences(e *corev1.Event) int32 {
	if e.Series != nil {
		return e.Series.Count
	}
	return max(e.Count, 1)
}

// older compares versions, which order the events of one second.
func older(a, b string) int {
	order, err := resourceversion.CompareResourceVersion(a, b)
	if err != nil {
		return 0
	}
	return order
}
