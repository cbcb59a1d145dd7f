// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Trigger is one trigger of a caller who has passed authentication and authorization.
type Trigger struct {
	Namespace string
	// User is the name of the caller.
	User   string
	Labels map[string]string
	Spec   v1alpha1.JobRunSpec
	// Time is when the gateway accepted the trigger.
	Time time.Time
}

// key identifies the triggers that may share a JobRun: they are the same in all but the input and the time.
type key struct {
	namespace, user string
	// labels is their JSON, or empty.
	labels string
	// spec has neither an input nor a ttlSecondsAfterFinished. If it has another pointer, it is only equal to itself.
	spec v1alpha1.JobRunSpec
	ttl  int64
}

// key returns the key of the trigger. It returns false if the trigger shares with none. A trigger shares only if the caller asked to
// coalesce, because its answer may be Coalesced.
func (t *Trigger) key() (key, bool) {
	if !t.shares() {
		return key{}, false
	}
	k := key{namespace: t.Namespace, user: t.User, spec: t.Spec, ttl: -1}
	k.spec.Input, k.spec.TTLSecondsAfterFinished = nil, nil
	if ttl := t.Spec.TTLSecondsAfterFinished; ttl != nil {
		k.ttl = int64(*ttl)
	}
	if len(t.Labels) == 0 {
		return k, true
	}
	labels, err := json.Marshal(t.Labels) // sorts them
	k.labels = string(labels)
	return k, err == nil
}

func (t *Trigger) job() job { return job{t.Namespace, t.Spec.JobName} }

func (t *Trigger) shares() bool { return t.coalesces() && t.mayShare() }

// wouldShare reports whether the trigger lacks nothing but what the definition of its job may give.
func (t *Trigger) wouldShare() bool { return !t.coalesces() && t.mayShare() }

func (t *Trigger) coalesces() bool { return t.Spec.ConcurrencyKey != "" && t.Spec.Coalesce != "" }

// mayShare reports whether the trigger shares if it coalesces.
func (t *Trigger) mayShare() bool {
	spec := &t.Spec
	return spec.IdempotencyKey == "" && spec.Batch == nil && spec.Template == nil && spec.Represents == nil && t.hasLegalInput()
}

// hasLegalInput reports whether the input keeps the bounds of the API. All else that the API refuses is the same for all
// triggers of a group, so it is refused with the first one.
func (t *Trigger) hasLegalInput() bool {
	input := t.Spec.Input
	return input == nil || len(input.Raw) <= v1alpha1.MaxInputBytes && v1alpha1.Levels(input.Raw) <= v1alpha1.MaxLevels
}

// represent returns what the JobRun of the first trigger says about all of them: how many they are, and the latest of the
// others, the latest at the end. An entry is whole or left out.
func represent(all []*Trigger) *v1alpha1.Represents {
	r := &v1alpha1.Represents{Count: int32(len(all))}
	room := v1alpha1.MaxRepresentedRecentBytes - len("[]")
	for _, t := range slices.Backward(all[1:]) {
		if len(r.Recent) == v1alpha1.MaxRepresentedRecent {
			break
		}
		if input := t.Spec.Input; input != nil && len(input.Raw) > room {
			continue
		}
		entry := v1alpha1.RepresentedTrigger{Input: t.Spec.Input, Time: metav1.NewMicroTime(t.Time), User: cut(t.User)}
		if size := sizeOf(entry); size <= room {
			room -= size
			r.Recent = append(r.Recent, entry)
		}
	}
	slices.Reverse(r.Recent)
	return r
}

// cut returns the beginning of a name that is too long.
func cut(user string) string {
	if len(user) <= v1alpha1.MaxTriggeredByBytes {
		return user
	}
	return strings.ToValidUTF8(user[:v1alpha1.MaxTriggeredByBytes], "")
}

// sizeOf returns the bytes of an entry and of the comma behind it.
func sizeOf(entry v1alpha1.RepresentedTrigger) int {
	text, err := json.Marshal(entry)
	if err != nil {
		return v1alpha1.MaxRepresentedRecentBytes + 1
	}
	return len(text) + 1
}
