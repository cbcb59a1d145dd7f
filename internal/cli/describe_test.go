// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func anEvent(name, kind, about string, at time.Time, message string) *corev1.Event {
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: "default", Name: name},
		InvolvedObject: corev1.ObjectReference{Kind: kind, Name: about, UID: types.UID("uid-" + about)},
		EventTime:      metav1.NewMicroTime(at), Type: "Normal", Reason: "R", Message: message,
	}
}

// aBusyRun returns a run and one object of each kind that describe shows.
func aBusyRun() []client.Object {
	run := aRun("next", withTemplate, leased, func(r *v1alpha1.JobRun) {
		r.Spec.Input = jsonOf(`{"org":"acme"}`)
		r.Labels["env"] = "prod"
		r.Status.JobRef = &v1alpha1.ObjectReference{Name: "next-1", UID: "uid-next-1"}
		r.Status.Attempts = 1
		r.Status.Progress = &v1alpha1.Progress{Generation: 1, Current: new(int64(7)), Message: "seven \x1b[2J"}
		r.Status.Coalesced = &v1alpha1.CoalescedTriggers{Count: 2, Recent: []v1alpha1.CoalescedTrigger{
			{Name: "gone", UID: "uid-gone", Time: &metav1.Time{Time: synctestBegins.Add(-5 * time.Minute)}, Input: `"cut`},
			{Name: "third", UID: "uid-third", Input: `"cut`},
		}}
	})
	third := aRun("third", receiptOf("next"), func(r *v1alpha1.JobRun) {
		r.Spec.Input = jsonOf(`"whole"`)
		r.Labels["by"] = "me"
	})
	key := &v1alpha1.RunKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: v1alpha1.ConcurrencyKeyName("sync", "acme")},
		Spec: v1alpha1.RunKeySpec{
			Kind: v1alpha1.RunKeyConcurrency, JobName: "sync", Key: "acme",
			Leased:  &v1alpha1.LeasedRun{RunIdentity: v1alpha1.RunIdentity{RunName: "next", Token: "t-next"}, Generation: 1},
			Pending: &v1alpha1.PendingRun{RunIdentity: v1alpha1.RunIdentity{RunName: "later", Token: "t"}, Time: &metav1.Time{Time: synctestBegins.Add(-time.Minute)}},
		},
	}
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: "next-1", UID: "uid-next-1", CreationTimestamp: metav1.NewTime(synctestBegins.Add(-30 * time.Second)),
		},
		Status: batchv1.JobStatus{Active: 1},
	}
	return []client.Object{
		run, third, key, job, aPod("next-1-x", "next", 20*time.Second, runs),
		anEvent("e3", "Pod", "next-1-x", synctestBegins.Add(-10*time.Second), "pulled\nan image"),
		anEvent("e1", "JobRun", "next", synctestBegins.Add(-90*time.Second), "triggered"),
		anEvent("e2", "Job", "next-1", synctestBegins.Add(-30*time.Second), "created a Pod"),
		anEvent("e0", "JobRun", "else", synctestBegins, "of somebody else"),
	}
}

const busyRunText = `Name:         next
Namespace:    default
Labels:       env=prod
Job:          sync
Key:          acme
Phase:        Leased
Input:        {"org":"acme"}
Progress:     7 seven ^[[2J
Created:      1999-12-31T23:58:30Z (90s ago)
Key used by:  next executes, later waits
Lease:
  Holder:      job/next-1
  Generation:  1
  Acquired:    1999-12-31T23:59:30Z (30s ago)
  Lasts:       as long as the Job
  Expired:     1 of 3 attempts
Expired attempts:
  GENERATION  HOLDER  EXPIRED                           PODS
  -           -       1 earlier, whose Events are gone  -
Receipts (2 absorbed):
  NAME   DISPOSITION  AGE  LABELS  SKIPPED INPUT
  gone   Coalesced    5m   -       "cut
  third  Coalesced    90s  by=me   "whole"
Batch Job:
  NAME    STATUS   ACTIVE  SUCCEEDED  FAILED  AGE
  next-1  Running  1       0          0       30s
Pods:
  NAME      STATUS   GENERATION  RESTARTS  NODE  AGE
  next-1-x  Running  1           0         node  20s
Events:
  TIME      TYPE    REASON  OBJECT        MESSAGE
  23:58:30  Normal  R       jobrun/next   triggered
  23:59:30  Normal  R       job/next-1    created a Pod
  23:59:50  Normal  R       pod/next-1-x  pulled an image
`

func TestDescribeARun(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("describe", "next"), 0, busyRunText, "")
	}, aBusyRun()...)
}

// aFloodedRun returns a run that absorbed 200 triggers, 100 of whose receipts exist, and twelve Events of it.
func aFloodedRun() []client.Object {
	run := aRun("next", phase(v1alpha1.PhasePending), func(r *v1alpha1.JobRun) {
		r.Status.Coalesced = &v1alpha1.CoalescedTriggers{Count: 200}
	})
	all := []client.Object{run, aRun("again", receiptOf("next"), func(r *v1alpha1.JobRun) {
		r.Status.Phase = v1alpha1.PhaseIdempotent
		r.CreationTimestamp = metav1.NewTime(synctestBegins.Add(-time.Hour))
	})}
	for i := range 100 {
		all = append(all, aRun(fmt.Sprintf("r%03d", i), receiptOf("next")))
	}
	for i := range 11 {
		at := synctestBegins.Add(time.Duration(i-30) * time.Second)
		all = append(all, anEvent(fmt.Sprintf("e%d", i), "JobRun", "next", at, fmt.Sprintf("event %d", i)))
	}
	flood := anEvent("flood", "JobRun", "next", time.Time{}, "absorbed 200 triggers")
	flood.Count = 195
	flood.FirstTimestamp = metav1.NewTime(synctestBegins.Add(-time.Minute))
	flood.LastTimestamp = metav1.NewTime(synctestBegins.Add(-time.Second))
	return append(all, flood)
}

func TestDescribeAFlood(t *testing.T) {
	inScene(t, func(t *testing.T, s *scene) {
		s.want(s.run("describe", "next"), 0, "~Receipts (200 absorbed):\n  NAME  DISPOSITION  AGE  LABELS  SKIPPED INPUT\n  r090  ~"+
			"  r099  Coalesced    90s  -       -\n  and 191 more\nEvents:\n  TIME      TYPE    REASON  OBJECT       MESSAGE\n"+
			"  23:59:32  Normal  R       jobrun/next  event 2\n~"+
			"event 10\n  23:59:59  Normal  R       jobrun/next  (x195 since 23:59:00) absorbed 200 triggers\n  and 2 more\n", "")
		if n := strings.Count(s.stdout.String(), "\n"); n > 40 {
			t.Errorf("%d lines", n)
		}
		s.want(s.run("describe", "next", "--all"), 0, "~  again  Idempotent~  r000 ~  r099   Coalesced    90s  -       -\n  and 100 more\n~event 0\n", "")
	}, aFloodedRun()...)
}

// expiry returns the Event of an attempt that expired.
func expiry(of string, generation string, ago time.Duration) *corev1.Event {
	e := anEvent("expiry-"+generation, "JobRun", of, synctestBegins.Add(-ago),
		"lease of job/"+of+"-"+generation+", generation "+generation+", expired (1 of 3 attempts used)")
	e.Reason = "RunLeaseExpired"
	return e
}

// aStuckRun returns a run whose second attempt has not started. Pods of its first are gone.
func aStuckRun() []client.Object {
	run := aRun("a", withTemplate, leased, func(r *v1alpha1.JobRun) {
		r.Status.Attempts, r.Status.Error = 2, "container main of Pod a-5-x waits (ImagePullBackOff): no such image"
		r.Status.Lease.Generation, r.Status.Lease.HolderIdentity = 5, "job/a-5"
	})
	left := aPod("a-3-x", "a", time.Minute, hasDone)
	left.Annotations[v1alpha1.AnnotationGeneration] = "3"
	left.Annotations[v1alpha1.AnnotationToken] = "t-a"
	key := &v1alpha1.RunKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: v1alpha1.ConcurrencyKeyName("sync", "acme")},
		Spec: v1alpha1.RunKeySpec{
			Kind: v1alpha1.RunKeyConcurrency, JobName: "sync", Key: "acme",
			Leased: &v1alpha1.LeasedRun{RunIdentity: v1alpha1.RunIdentity{RunName: "a", Token: "t-a"}, Generation: 5},
		},
	}
	stuck := aPod("a-5-x", "a", time.Second, waits)
	stuck.Annotations[v1alpha1.AnnotationGeneration] = "5"
	return []client.Object{run, key, left, stuck, expiry("a", "3", time.Minute), expiry("a", "1", 5*time.Minute)}
}

func TestDescribeAttemptsThatAreGone(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("describe", "a"), 0, "~Does not get on:  container main of Pod a-5-x waits (ImagePullBackOff): no such image\n~"+
			"Key used by:      a starts\n~"+
			"Expired attempts:\n  GENERATION  HOLDER   EXPIRED                         PODS\n"+
			"  1           job/a-1  1999-12-31T23:55:00Z (5m ago)   gone\n"+
			"  3           job/a-3  1999-12-31T23:59:00Z (60s ago)  1\n", "")
		s.setContainer("a-5-x", runs)
		s.want(s.run("describe", "a"), 0, "~Key used by:      a executes\n", "")
	}, aStuckRun()...)
}

func TestDescribeAReceipt(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("describe", "jr/third"), 0, "~Name:           third\n~Stands for it:  next\n~Skipped input:  \"whole\"\n~"+
			"\nThe run that stands for it:\n\n"+busyRunText, "")
	}, aBusyRun()...)
}

func TestDescribeWithoutRights(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		for _, resource := range []string{"jobruns", "runkeys", "pods", "events"} {
			s.forbidden.Store(resource, true)
		}
		s.want(s.run("describe", "next"), 0, "~Key used by:  no permission to read\n~  third  Coalesced    -    -       \"cut\n~Pods:    no permission to read\n~Events:  no permission to read\n", "")
	}, aBusyRun()...)
}

func TestDescribeMissingRuns(t *testing.T) {
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("describe", "none"), 1, "", "~Error from server (NotFound)")
		s.want(s.run("describe", "orphan"), 0, "~Stands for it:  gone (it is gone)\n", "")
		s.want(s.run("describe", "early"), 0, "~Phase:          none yet\n~Stands for it:  gone (not decided yet)\n", "")
	}, aRun("orphan", receiptOf("gone")), aRun("early", receiptOf("gone"), phase("")))
}

// Of a run that has ended, the Job and its Pods may have gone after their TTL.
func TestDescribeWithoutItsJob(t *testing.T) {
	named := func(r *v1alpha1.JobRun) {
		r.Status.JobRef = &v1alpha1.ObjectReference{Name: r.Name + "-1", UID: "uid-gone"}
	}
	inScene(t, func(_ *testing.T, s *scene) {
		s.want(s.run("describe", "done"), 0, "~Batch Job:  done-1 (it is gone, as finished Jobs are after a while)\n", "")
		s.want(s.run("describe", "busy"), 0, "~Batch Job:     busy-1 (it is gone)\n", "")
	}, aRun("done", withTemplate, ending(failed), named), aRun("busy", withTemplate, leased, named))
}
