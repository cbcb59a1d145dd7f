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

// Model is a sequential specification whose inputs are Operations.
type Model struct {
	// By says which operations are checked together; those of "" are left out.
	By func(Operation) string
	// Init is the first state, and Step what follows one; ok is whether the
	// operation could have had its outcome there. States are never changed.
	Init     func() any
	Step     func(state any, o Operation) (next any, ok bool)
	Equal    func(a, b any) bool
	Hash     func(state any) uint64
	Describe func(state any) string
	// Over says whether an operation of unknown outcome can have no effect any more
	// once another one had: it need not be kept in mind then. It is optional.
	Over func(unknown, after Operation) bool
}

// mostShown is how many operations an error tells of.
const mostShown = 40

// Check checks that operations are linearizable, each partition by itself. The
// error tells the operations of the first partition that is not, in the longest
// order that was found, with those that fit nowhere. It is an error, too, if the
// answer takes longer than the time-out.
func Check(m Model, operations []Operation, timeout time.Duration) error {
	for _, name := range m.partitions(operations) {
		part := m.partition(operations, name)
		result, info := porcupine.CheckOperationsVerbose(m.porcupine(), part, timeout)
		switch result {
		case porcupine.Ok:
		case porcupine.Illegal:
			return fmt.Errorf("%s is not linearizable:\n%s", name, m.explain(part, info))
		default:
			return fmt.Errorf("%s: not known within %s whether its %d operations are linearizable", name, timeout, len(part))
		}
	}
	return nil
}

// partitions are in the order of their names, so that the same one is told of
// each time.
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

// epilogue is an operation behind all that are over at some time. One of unknown
// outcome that is not, and has no effect, has its place behind it.
const epilogue Kind = "epilogue"

func (m Model) partition(operations []Operation, name string) []porcupine.Operation {
	operations = slices.DeleteFunc(slices.Clone(operations), func(o Operation) bool {
		return m.By(o) != name || o.Outcome == Refused // which has no effect, and may always be
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

// until is when an operation of unknown outcome had its effect, if it had one.
func (m Model) until(unknown Operation, all []Operation) int64 {
	until := int64(Never)
	for _, o := range all {
		if m.Over != nil && o.Outcome == OK && m.Over(unknown, o) {
			until = min(until, max(o.Return, unknown.Call))
		}
	}
	return until
}

// progress is the state of a model, and whether the epilogue is over.
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
	case p.over: // Only what is unknown comes then.
		return true, p
	}
	next, ok := m.Step(p.state, o)
	if !ok && o.Outcome == Unknown && o.Return != Never {
		return true, p // It can have no effect, and it returns when it could not have one any more.
	}
	return ok, progress{next, false}
}

// explain tells the longest order that was found, and what fits nowhere in it.
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

func tell(o Operation) string {
	until := "..."
	if o.Return != Never {
		until = seconds(o.Return)
	}
	return fmt.Sprintf("[%s, %s] %s", seconds(o.Call), until, o)
}

func seconds(at int64) string { return fmt.Sprintf("%.6f", time.Duration(at).Seconds()) }
