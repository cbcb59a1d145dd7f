// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// Model is a sequential specification of Operations.
type Model struct {
	// By returns the partition of an operation. Each partition is checked by itself. Operations of
	// partition "" are ignored.
	By func(Operation) string
	// Init returns the first state.
	Init func() any
	// Step returns the state after an operation, and whether its outcome could be OK in the given state.
	// It must not change the given state.
	Step     func(state any, o Operation) (next any, ok bool)
	Equal    func(a, b any) bool
	Hash     func(state any) uint64
	Describe func(state any) string
	// Over reports whether an operation of unknown outcome can have no effect once another operation
	// took effect. That makes the check faster. It may be nil.
	Over func(unknown, after Operation) bool
}

// mostShown bounds the operations in either list of an error.
const mostShown = 40

// Check checks that operations are linearizable, each partition by itself. The error describes the first
// partition that is not: the longest possible order that was found, and the operations that fit nowhere in it.
// A check of a partition that takes longer than timeout is an error, too.
func Check(m Model, operations []Operation, timeout time.Duration) error {
	for _, name := range m.partitions(operations) {
		part := m.partition(operations, name)
		result, info := porcupine.CheckOperationsVerbose(m.porcupine(), part, timeout)
		switch result {
		case porcupine.Ok:
		case porcupine.Illegal:
			return fmt.Errorf("%s is not linearizable:\n%s", name, m.explain(part, info))
		default:
			return fmt.Errorf("%s: the check of its %d operations took longer than %s", name, len(part), timeout)
		}
	}
	return nil
}

// partitions returns the names of the partitions, sorted, so that Check always describes the same one.
func (m Model) partitions(operations []Operation) []string {
	var names []string
	for _, o := range operations {
		if name := m.By(o); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// epilogue is an operation that is called after all others have returned, except for those with Return Never.
// Porcupine must give each operation a place in the order. An operation that never returns and never took effect
// gets its place after the epilogue, where it changes nothing.
const epilogue Kind = "epilogue"

func (m Model) partition(operations []Operation, name string) []porcupine.Operation {
	operations = slices.DeleteFunc(slices.Clone(operations), func(o Operation) bool {
		return m.By(o) != name || o.Outcome == Refused // A refused operation has no effect.
	})
	var part []porcupine.Operation
	last := int64(0)
	for _, o := range operations {
		if o.Outcome == Unknown {
			o.Return = m.until(o, operations)
		}
		last = max(last, o.Call)
		if o.Return != Never {
			last = max(last, o.Return)
		}
		part = append(part, porcupine.Operation{Input: o, Call: o.Call, Return: o.Return})
	}
	end := Operation{Kind: epilogue, Call: last + 1, Return: last + 1}
	return append(part, porcupine.Operation{Input: end, Call: end.Call, Return: end.Return})
}

// until returns the time after which an operation of unknown outcome can have no effect.
func (m Model) until(unknown Operation, all []Operation) int64 {
	until := int64(Never)
	for _, o := range all {
		if m.Over != nil && o.Outcome == OK && m.Over(unknown, o) {
			until = min(until, max(o.Return, unknown.Call))
		}
	}
	return until
}

// progress is the state of a model, and whether the epilogue has its place in the order.
type progress struct {
	state any
	over  bool
}

func (m Model) porcupine() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return progress{state: m.Init()} },
		Step: func(state, input, _ any) (bool, any) { return m.step(state.(progress), input.(Operation)) },
		Equal: func(a, b any) bool {
			x, y := a.(progress), b.(progress)
			return x.over == y.over && m.Equal(x.state, y.state)
		},
		Hash: func(state any) uint64 { return m.Hash(state.(progress).state) },
	}
}

func (m Model) step(p progress, o Operation) (bool, progress) {
	switch {
	case o.Kind == epilogue:
		return true, progress{p.state, true}
	case p.over: // The operation never took effect: see epilogue.
		return true, p
	}
	next, ok := m.Step(p.state, o)
	if !ok && o.Outcome == Unknown && o.Return != Never {
		return true, p // It never took effect, but must have a place before its generation is over: see until.
	}
	return ok, progress{next, false}
}

// explain renders the longest order that was found, and the operations that fit nowhere in it.
func (m Model) explain(part []porcupine.Operation, info porcupine.LinearizationInfo) string {
	var longest []int
	for _, order := range info.PartialLinearizations()[0] {
		if len(order) > len(longest) {
			longest = order
		}
	}
	var text strings.Builder
	at := progress{state: m.Init()}
	for n, i := range longest {
		o := part[i].Input.(Operation)
		_, at = m.step(at, o)
		if n >= len(longest)-mostShown {
			fmt.Fprintf(&text, "  %s\n", tell(o))
		}
	}
	fmt.Fprintf(&text, "then %s, and there is no place for\n", m.Describe(at.state))
	shown := 0
	for i := range part {
		o := part[i].Input.(Operation)
		if o.Kind != epilogue && o.Outcome == OK && !slices.Contains(longest, i) && shown < mostShown {
			shown++
			fmt.Fprintf(&text, "  %s\n", tell(o))
		}
	}
	return text.String()
}

// tell renders an operation with the times of its call and its return.
func tell(o Operation) string {
	until := "..."
	if o.Return != Never {
		until = seconds(o.Return)
	}
	return fmt.Sprintf("[%s, %s] %s", seconds(o.Call), until, o)
}

func seconds(at int64) string { return fmt.Sprintf("%.6f", time.Duration(at).Seconds()) }
