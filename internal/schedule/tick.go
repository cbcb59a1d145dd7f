// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"crypto/sha256"
	"encoding/base32"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	// cutName is the number of characters of the definition's name in the name of a run. With the hash, the name has at
	// most v1alpha1.MaxTemplateRunName characters.
	cutName = 41
	// hashLength is the number of characters of the hash in the name of a run: 50 bits.
	hashLength = 10
)

// RunName returns the name of the JobRun that a schedule of a definition triggers at a time:
//
//	<definition, cut to 41>-<first 10 of base32(SHA-256(definition, 0, schedule, 0, minutes))>
//
// in lower case. Each 0 is a zero byte. minutes is the number of whole minutes since the epoch, as decimal text. The name is
// the lock: whoever wants to trigger the same time creates the same name.
func RunName(definition, schedule string, t time.Time) string {
	minutes := strconv.FormatInt(floor(t, time.Minute).Unix()/60, 10)
	sum := sha256.Sum256([]byte(definition + "\x00" + schedule + "\x00" + minutes))
	hash := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:hashLength])
	return definition[:min(len(definition), cutName)] + "-" + hash
}

// NewRun returns the JobRun that a schedule of a definition triggers at a time.
func NewRun(d *v1alpha1.JobDefinition, s *v1alpha1.JobSchedule, t time.Time) *v1alpha1.JobRun {
	return &v1alpha1.JobRun{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   d.Namespace,
			Name:        RunName(d.Name, s.Name, t),
			Labels:      map[string]string{v1alpha1.LabelSchedule: s.Name},
			Annotations: map[string]string{v1alpha1.AnnotationScheduledTime: t.UTC().Format(time.RFC3339)},
		},
		Spec: v1alpha1.JobRunSpec{JobName: d.Name, Input: s.Input.DeepCopy()},
	}
}

// TickOf returns the schedule and the time that triggered a JobRun. ok is false for a JobRun that no schedule triggered:
// label, annotation and name must fit each other.
func TickOf(run *v1alpha1.JobRun) (name string, at time.Time, ok bool) {
	name = run.Labels[v1alpha1.LabelSchedule]
	at, err := time.Parse(time.RFC3339, run.Annotations[v1alpha1.AnnotationScheduledTime])
	if name == "" || err != nil || run.Name != RunName(run.Spec.JobName, name, at) {
		return "", time.Time{}, false
	}
	return name, at, true
}

// IsRunOf reports whether a JobRun is the one that NewRun returns.
func IsRunOf(run *v1alpha1.JobRun, d *v1alpha1.JobDefinition, s *v1alpha1.JobSchedule, t time.Time) bool {
	name, at, ok := TickOf(run)
	return ok && run.Spec.JobName == d.Name && name == s.Name && at.Equal(t)
}

// Awaits reports whether a JobRun must be kept because the status of its definition does not have the time that triggered
// it. If the JobRun went before, its name would be free, and the same time could trigger again. d is the definition of the
// JobRun's jobName; nil if it is gone. The times that are before the definition's creation, or before the time at which the
// schedule fires next, do not trigger any more.
func Awaits(run *v1alpha1.JobRun, d *v1alpha1.JobDefinition) bool {
	name, at, ok := TickOf(run)
	if !ok || d == nil || d.DeletionTimestamp != nil || !at.After(d.CreationTimestamp.Time) || Find(d.Spec.Schedules, name) == nil {
		return false
	}
	known := FindStatus(d.Status.Schedules, name)
	if known == nil {
		return true
	}
	last, next := known.LastScheduleTime, known.NextScheduleTime
	return (last == nil || at.After(last.Time)) && (next == nil || !at.Before(next.Time))
}

// maxAhead is how far the clock of one replica may be ahead of another one's. A longer one would let a wrong clock stop a schedule
// for that long; a shorter one would let clocks that differ trigger a time twice, if its JobRun is gone.
const maxAhead = 10 * time.Minute

// IsAhead reports whether a time of a status is so far ahead that it says nothing about now: a clock that was wrong stored it, or, for
// nextScheduleTime, the schedule is rare.
func IsAhead(t *metav1.Time, now time.Time) bool { return t != nil && t.Sub(now) > maxAhead }

// Find returns the schedule of a name; nil if there is none.
func Find(schedules []v1alpha1.JobSchedule, name string) *v1alpha1.JobSchedule {
	for i := range schedules {
		if schedules[i].Name == name {
			return &schedules[i]
		}
	}
	return nil
}

// FindStatus returns what is known of the schedule of a name; nil if there is nothing.
func FindStatus(known []v1alpha1.JobScheduleStatus, name string) *v1alpha1.JobScheduleStatus {
	for i := range known {
		if known[i].Name == name {
			return &known[i]
		}
	}
	return nil
}
