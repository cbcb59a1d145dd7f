// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"

// fieldOf is a field of JobRunSpec that a definition may give. Its values are comparable. nil means that it is not set.
type fieldOf struct {
	name  v1alpha1.OverridableField
	get   func(*v1alpha1.JobRunSpec) any
	set   func(*v1alpha1.JobRunSpec, any)
	given func(*v1alpha1.JobRunDefaults) any
	// applies reports whether the field has an effect beside the others of the spec. Without one, the API refuses it.
	applies func(*v1alpha1.JobRunSpec) bool
	// builtIn is the value of the field if neither the trigger nor a definition sets it; nil if there is none.
	builtIn any
}

func newField[T comparable](
	name v1alpha1.OverridableField, in func(*v1alpha1.JobRunSpec) *T, given func(*v1alpha1.JobRunDefaults) T, builtIn any,
) fieldOf {
	return fieldOf{
		name:    name,
		get:     func(spec *v1alpha1.JobRunSpec) any { return unlessZero(*in(spec)) },
		set:     func(spec *v1alpha1.JobRunSpec, value any) { *in(spec) = value.(T) },
		given:   func(defaults *v1alpha1.JobRunDefaults) any { return unlessZero(given(defaults)) },
		applies: always,
		builtIn: builtIn,
	}
}

func unlessZero[T comparable](value T) any {
	if value == *new(T) {
		return nil
	}
	return value
}

func always(*v1alpha1.JobRunSpec) bool { return true }

func (f fieldOf) ifSet(needs func(*v1alpha1.JobRunSpec) string) fieldOf {
	f.applies = func(spec *v1alpha1.JobRunSpec) bool { return needs(spec) != "" }
	return f
}

func concurrencyKeyOf(spec *v1alpha1.JobRunSpec) string { return spec.ConcurrencyKey }
func idempotencyKeyOf(spec *v1alpha1.JobRunSpec) string { return spec.IdempotencyKey }

// fields has concurrencyKey before coalesce, which needs it.
var fields = []fieldOf{
	newField(v1alpha1.OverridableConcurrencyKey,
		func(s *v1alpha1.JobRunSpec) *string { return &s.ConcurrencyKey },
		func(d *v1alpha1.JobRunDefaults) string { return d.ConcurrencyKey }, nil),
	newField(v1alpha1.OverridableCoalesce,
		func(s *v1alpha1.JobRunSpec) *v1alpha1.CoalescePolicy { return &s.Coalesce },
		func(d *v1alpha1.JobRunDefaults) v1alpha1.CoalescePolicy { return d.Coalesce }, nil).ifSet(concurrencyKeyOf),
	newField(v1alpha1.OverridableIdempotencyTTLSeconds,
		func(s *v1alpha1.JobRunSpec) *int32 { return &s.IdempotencyTTLSeconds },
		func(d *v1alpha1.JobRunDefaults) int32 { return d.IdempotencyTTLSeconds }, nil).ifSet(idempotencyKeyOf),
	newField(v1alpha1.OverridableIdempotencyRelease,
		func(s *v1alpha1.JobRunSpec) *v1alpha1.IdempotencyReleasePolicy { return &s.IdempotencyRelease },
		func(d *v1alpha1.JobRunDefaults) v1alpha1.IdempotencyReleasePolicy { return d.IdempotencyRelease },
		v1alpha1.IdempotencyReleaseNever).ifSet(idempotencyKeyOf),
	newField(v1alpha1.OverridableLeaseDurationSeconds,
		func(s *v1alpha1.JobRunSpec) *int32 { return &s.LeaseDurationSeconds },
		func(d *v1alpha1.JobRunDefaults) int32 { return d.LeaseDurationSeconds }, nil),
	newField(v1alpha1.OverridableActiveDeadlineSeconds,
		func(s *v1alpha1.JobRunSpec) *int64 { return &s.ActiveDeadlineSeconds },
		func(d *v1alpha1.JobRunDefaults) int64 { return d.ActiveDeadlineSeconds }, nil),
	newField(v1alpha1.OverridableMaxAttempts,
		func(s *v1alpha1.JobRunSpec) *int32 { return &s.MaxAttempts },
		func(d *v1alpha1.JobRunDefaults) int32 { return d.MaxAttempts }, int32(v1alpha1.DefaultMaxAttempts)),
	newField(v1alpha1.OverridableOnLeaseExpired,
		func(s *v1alpha1.JobRunSpec) *v1alpha1.LeaseExpiredPolicy { return &s.OnLeaseExpired },
		func(d *v1alpha1.JobRunDefaults) v1alpha1.LeaseExpiredPolicy { return d.OnLeaseExpired }, v1alpha1.OnLeaseExpiredFail),
	newField(v1alpha1.OverridableOnJobLost,
		func(s *v1alpha1.JobRunSpec) *v1alpha1.JobLostPolicy { return &s.OnJobLost },
		func(d *v1alpha1.JobRunDefaults) v1alpha1.JobLostPolicy { return d.OnJobLost }, v1alpha1.OnJobLostRequeue),
	{
		name: v1alpha1.OverridableTTLSecondsAfterFinished,
		get:  func(s *v1alpha1.JobRunSpec) any { return pointedTo(s.TTLSecondsAfterFinished) },
		set: func(s *v1alpha1.JobRunSpec, value any) {
			seconds := value.(int32)
			s.TTLSecondsAfterFinished = &seconds
		},
		given:   func(d *v1alpha1.JobRunDefaults) any { return pointedTo(d.TTLSecondsAfterFinished) },
		applies: always,
	},
}

func pointedTo[T any](value *T) any {
	if value == nil {
		return nil
	}
	return *value
}

// BuiltIns sets the fields of a spec that every stored JobRun shows: those that neither the trigger nor a definition has set,
// but whose default does not depend on other fields.
func BuiltIns(spec *v1alpha1.JobRunSpec) {
	for _, f := range stamped {
		if f.get(spec) == nil {
			f.set(spec, f.builtIn)
		}
	}
}

// stamped are the fields that BuiltIns sets.
var stamped = func() []fieldOf {
	var found []fieldOf
	for _, f := range fields {
		switch f.name {
		case v1alpha1.OverridableMaxAttempts, v1alpha1.OverridableOnLeaseExpired, v1alpha1.OverridableOnJobLost:
			found = append(found, f)
		}
	}
	return found
}()

// Value is a field of a JobRun's spec, and what to set it to.
type Value struct {
	Name  string
	Value any
}

// Added returns the fields that after has and before lacks, of those that Complete and BuiltIns set. The input is added if its
// text differs.
func Added(before, after *v1alpha1.JobRunSpec) []Value {
	var added []Value
	if after.Input != nil && (before.Input == nil || string(before.Input.Raw) != string(after.Input.Raw)) {
		added = append(added, Value{"input", after.Input})
	}
	for _, f := range fields {
		if value := f.get(after); value != nil && f.get(before) == nil {
			added = append(added, Value{string(f.name), value})
		}
	}
	if after.IdempotencyKey != "" && before.IdempotencyKey == "" {
		added = append(added, Value{"idempotencyKey", after.IdempotencyKey})
	}
	return added
}
