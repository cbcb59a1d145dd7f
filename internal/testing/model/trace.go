// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// traceEntry is a step, or the result of one. It is rendered only for a failed simulation.
type traceEntry struct {
	at        time.Time
	who, what string
	event     *Event
	err       error
}

// note adds an entry to the trace.
func (s *Sim) note(who, what string, event *Event, err error) {
	s.trace = append(s.trace, traceEntry{at: s.Clock.Now(), who: who, what: what, event: event, err: err})
}

// asEvent presents the object of a response as an event, for the trace. It returns nil without an object.
func (r *Response) asEvent() *Event {
	if r == nil || r.row == nil {
		return nil
	}
	return &Event{New: r.row.typed}
}

// Trace renders all steps so far. Each step is one line, followed by the objects that it wrote or read.
func (s *Sim) Trace() string {
	var text strings.Builder
	for _, e := range s.trace {
		if e.what != "" {
			fmt.Fprintf(&text, "%9s  %-28s %s\n", "+"+e.at.Sub(s.started).String(), e.who, e.what)
		}
		if e.err != nil {
			fmt.Fprintf(&text, "%9s  %-28s -> %v\n", "", "", e.err)
		}
		if e.event != nil {
			gone := ""
			if e.event.New == nil {
				gone = "gone: "
			}
			fmt.Fprintf(&text, "%9s  %-28s -> %s%s\n", "", "", gone, Describe(e.event.Object()))
		}
	}
	return text.String()
}

// String renders a request for the trace.
func (r *Request) String() string {
	return string(r.Verb) + " " + r.kind.gvk.Kind + " " + r.Name
}

// describeNext describes the next event that an informer will see.
func (i *informer) describeNext() string {
	event := i.history[i.position]
	change := " changed: "
	switch {
	case event.Old == nil:
		change = " created: "
	case event.New == nil:
		change = " deleted: "
	}
	return i.kind.gvk.Kind + change + event.Object().GetName() + " " + version(event.Revision)
}

// Describe renders the important fields of an object in one line.
func Describe(obj client.Object) string {
	head := fmt.Sprintf("%s v%s", obj.GetName(), obj.GetResourceVersion())
	if obj.GetDeletionTimestamp() != nil {
		head += " deleting"
	}
	switch obj := obj.(type) {
	case *v1alpha1.RunKey:
		return "RunKey " + head + describeKey(&obj.Spec)
	case *v1alpha1.JobRun:
		return "JobRun " + head + describeRun(obj)
	case *batchv1.Job:
		return "Job " + head + describeJob(obj)
	case *corev1.Pod:
		return "Pod " + head + " " + string(obj.Status.Phase)
	default:
		return head
	}
}

func describeKey(spec *v1alpha1.RunKeySpec) string {
	var text string
	if p := spec.Pending; p != nil {
		text += fmt.Sprintf(" pending=%s/%s@%d", p.RunName, short(p.Token), p.Generation)
	}
	if l := spec.Leased; l != nil {
		text += fmt.Sprintf(" leased=%s/%s@%d from v%s", l.RunName, short(l.Token), l.Generation, l.FromVersion)
	}
	if o := spec.Owner; o != nil {
		text += fmt.Sprintf(" owner=%s/%s", o.RunName, short(o.Token))
	}
	return text
}

func describeRun(run *v1alpha1.JobRun) string {
	text := fmt.Sprintf(" phase=%q", run.Status.Phase)
	if a := run.Spec.Admission; a != nil {
		text += fmt.Sprintf(" %s/%s", a.Disposition, short(a.Token))
		if a.Token != a.RunToken {
			text += fmt.Sprintf(" of %s/%s", a.RunName, short(a.RunToken))
		}
		if a.KeyVersion != "" {
			text += " at v" + a.KeyVersion
		}
	}
	if run.CancelRequested() {
		text += " cancel"
	}
	if l := run.Status.Lease; l != nil {
		text += fmt.Sprintf(" lease=%q@%d", l.HolderIdentity, l.Generation)
	}
	if c := run.Status.Coalesced; c != nil {
		text += fmt.Sprintf(" coalesced=%d", c.Count)
	}
	if ref := run.Status.RunRef; ref != nil && ref.UID != run.UID {
		text += " run=" + ref.Name
	}
	for _, condition := range run.Status.Conditions {
		text += fmt.Sprintf(" %s=%s", condition.Type, condition.Status)
	}
	if run.Status.Error != "" {
		text += fmt.Sprintf(" error=%q", run.Status.Error)
	}
	return text
}

func describeJob(job *batchv1.Job) string {
	text := ""
	if job.Spec.Suspend != nil && *job.Spec.Suspend {
		text += " suspended"
	}
	for _, condition := range job.Status.Conditions {
		text += fmt.Sprintf(" %s=%s", condition.Type, condition.Status)
	}
	return text
}

// short cuts a token to its first characters, which are enough to tell tokens apart.
func short(token string) string { return token[:min(6, len(token))] }
