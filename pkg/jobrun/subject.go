// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// subject is a JobRun that is followed by name and, once known, by uid.
type subject struct {
	name string
	uid  types.UID
	// seen is the last state seen, or nil.
	seen *v1alpha1.JobRun
}

func subjectOf(run *v1alpha1.JobRun) *subject {
	return &subject{name: run.Name, uid: run.UID, seen: run}
}

func referredTo(ref v1alpha1.ObjectReference) *subject {
	return &subject{name: ref.Name, uid: ref.UID}
}

func (s *subject) scope() client.ListOption {
	return client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", s.name)}
}

// version returns the resourceVersion from which to watch, or "" to list first.
func (s *subject) version() string {
	if s.seen == nil {
		return ""
	}
	return s.seen.ResourceVersion
}

// end returns the outcome, or "" if none was seen.
func (s *subject) end() v1alpha1.Phase {
	if s.seen == nil {
		return ""
	}
	return s.seen.Outcome()
}

// presence is whether a subject exists after a change.
type presence int

const (
	present presence = iota
	// deleted means that the subject is gone and that its last state was seen.
	deleted
	// vanished means that the subject is gone and that its last state was not seen, or that it never existed.
	vanished
)

func (s *subject) take(ch change) presence {
	if !ch.listed {
		return s.takeOne(ch)
	}
	for i := range ch.all {
		if run := &ch.all[i]; s.is(run) {
			s.uid, s.seen = run.UID, run
			return present
		}
	}
	return vanished
}

func (s *subject) takeOne(ch change) presence {
	if !s.is(ch.run) {
		return present
	}
	s.uid, s.seen = ch.run.UID, ch.run
	if ch.deleted {
		return deleted
	}
	return present
}

func (s *subject) is(run *v1alpha1.JobRun) bool {
	return run.Name == s.name && (s.uid == "" || run.UID == s.uid)
}
