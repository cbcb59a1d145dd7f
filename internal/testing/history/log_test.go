// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestReadReturnsWhatWasRecorded(t *testing.T) {
	var first, second bytes.Buffer
	one, two := NewRecorder(&first, "one"), NewRecorder(&second, "two")
	claim := Operation{Kind: Claim, Key: "k", Run: "a", Generation: 1, Holder: "one"}
	answered := one.Call(claim)
	two.Call(Operation{Kind: Complete, Key: "k", Run: "b", Generation: 2})
	lost := two.Call(Operation{Kind: Progress, Run: "b"})
	answered(OK, "fine")
	lost(Unknown, "EOF")

	operations, err := Read(&second, &first)
	if err != nil {
		t.Fatal(err)
	}
	want := []Operation{
		{Process: "two", Kind: Complete, Key: "k", Run: "b", Generation: 2, Return: Never, Outcome: Unknown},
		{Process: "two", Kind: Progress, Run: "b", Return: Never, Outcome: Unknown, Answer: "EOF"},
		{Process: "one", Kind: Claim, Key: "k", Run: "a", Generation: 1, Holder: "one", Outcome: OK, Answer: "fine"},
	}
	if a, b := operations[2], operations[0]; a.Call >= b.Call || a.Return <= operations[1].Call {
		t.Errorf("the times contradict the order of the calls: %v", operations)
	}
	operations[2].Return = 0
	if diff := cmp.Diff(want, operations, cmpopts.IgnoreFields(Operation{}, "Call")); diff != "" {
		t.Error(diff)
	}
}

func TestALogOfAProcessThatWasKilled(t *testing.T) {
	var out bytes.Buffer
	NewRecorder(&out, "w").Call(Operation{Kind: Claim, Run: "a"})(OK, "")
	whole := out.String()
	for cut := range len(whole) - 1 {
		operations, err := Read(strings.NewReader(whole[:cut]))
		if err != nil {
			t.Fatalf("cut after %d bytes: %v", cut, err)
		}
		if called := strings.Contains(whole[:cut], "\n"); called != (len(operations) == 1) || (called && operations[0].Outcome != Unknown) {
			t.Errorf("cut after %d bytes: %v", cut, operations)
		}
	}
}

func TestReadRefusesInvalidLogs(t *testing.T) {
	for _, text := range []string{"panic: oh no\n", `{"id": 7, "at": 1, "outcome": "OK"}` + "\n"} {
		if operations, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%q was read as %v", text, operations)
		}
	}
}

func TestJoinRetries(t *testing.T) {
	for name, test := range map[string]struct{ sent, want string }{
		"answered in the end": {`
			1 ... w Complete a 1 Unknown
			3 ... w Complete a 1 Unknown
			5 6 w Complete a 1 OK`, `
			1 6 w Complete a 1 OK`},
		"refused in the end": {`
			1 ... w Claim a 1 Unknown
			3 4 w Claim a 1 Refused`, `
			1 ... w Claim a 1 Unknown`},
		"refused, and tried again": {`
			1 2 w Claim a 1 Refused
			3 4 w Claim a 1 OK`, `
			1 2 w Claim a 1 Refused
			3 4 w Claim a 1 OK`},
		"accepted twice": {`
			1 2 w Claim a 1 OK
			3 4 w Claim a 1 OK`, `
			1 2 w Claim a 1 OK
			3 4 w Claim a 1 OK`},
		"by another process, or of another run, generation or kind": {`
			1 ... w Claim a 1 Unknown
			3 4 v Claim a 1 OK
			5 6 w Claim b 1 OK
			7 8 w Claim a 2 OK
			9 10 w Complete a 1 OK`, `
			1 ... w Claim a 1 Unknown
			3 4 v Claim a 1 OK
			5 6 w Claim b 1 OK
			7 8 w Claim a 2 OK
			9 10 w Complete a 1 OK`},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(script(t, test.want), JoinRetries(script(t, test.sent))); diff != "" {
				t.Error(diff)
			}
		})
	}
}
