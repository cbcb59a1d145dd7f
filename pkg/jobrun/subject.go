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
		seen := s.see(ch.run)
		switch {
		case seen && ch.deleted:
			return deleted
		case !seen && ch.run.Name == s.name && !ch.deleted: // Another JobRun has got the name: the deletion was not seen.
			return vanished
		default:
			return present
		}
	}
	for i := range ch.all {
		if s.see(&ch.all[i]) {
			return present
		}
	}
	return vanished
}

// see stores a state of the subject. It reports whether run is the subject.
func (s *subject) see(run *v1alpha1.JobRun) bool {
	if run.Name != s.name || s.uid != "" && run.UID != s.uid {
		return false
	}
	s.uid, s.seen = run.UID, run
	return true
}
