// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// script parses a history of one key. Each line is one operation: the times of its call and its return ("..."
// for never), process, kind, run, generation and outcome.
func script(t *testing.T, text string) []Operation {
	t.Helper()
	var operations []Operation
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		if l == "" {
			continue
		}
		var o Operation
		var until string
		_, err := fmt.Sscanf(l, "%d %s %s %s %s %d %s", &o.Call, &until, &o.Process, &o.Kind, &o.Run, &o.Generation, &o.Outcome)
		if err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		o.Return = Never
		if until != "..." {
			if _, err := fmt.Sscan(until, &o.Return); err != nil {
				t.Fatalf("%q: %v", l, err)
			}
		}
		o.Key = "k"
		if o.Process != "api" {
			o.Holder = o.Process
		}
		operations = append(operations, o)
	}
	return operations
}

var good = map[string]string{
	"nothing": ``,
	"one after the other": `
		1 2 w1 Claim a 1 OK
		3 4 w1 Progress a 1 OK
		5 6 w1 Complete a 1 OK
		7 8 w2 Claim b 1 OK
		9 10 w2 Fail b 1 OK`,
	"one of two simultaneous claims is refused": `
		1 4 w1 Claim a 1 OK
		2 3 w2 Claim a 1 Refused`,
	"the next claim overlaps the completion": `
		1 2 w1 Claim a 1 OK
		3 8 w1 Complete a 1 OK
		4 5 w2 Claim b 1 OK`,
	"given back and claimed again": `
		1 2 w1 Claim a 1 OK
		3 4 w1 GiveBack a 1 OK
		0 5 api Released a 1 OK
		6 7 w2 Claim a 3 OK
		8 9 w2 Complete a 3 OK
		0 10 api Ended a 3 OK`,
	"expired, and the late completion is refused": `
		1 2 w1 Claim a 1 OK
		0 9 api Released a 1 OK
		5 6 w2 Claim a 3 OK
		7 8 w1 Complete a 1 Refused
		10 11 w2 Complete a 3 OK`,
	"the answer to a claim is lost, and it was stored": `
		1 ... w1 Claim a 1 Unknown
		5 6 w1 Complete a 1 OK`,
	"the answer to a claim is lost, and it was not stored": `
		1 ... w1 Claim a 1 Unknown
		5 6 w2 Claim a 1 OK
		7 8 w2 Complete a 1 OK`,
	"the answer to a completion is lost, and it was stored": `
		1 2 w1 Claim a 1 OK
		3 ... w1 Complete a 1 Unknown
		5 6 w2 Claim b 1 OK`,
	"the answer to a completion is lost, and the lease expired": `
		1 2 w1 Claim a 1 OK
		3 ... w1 Complete a 1 Unknown
		0 6 api Released a 1 OK
		5 6 w2 Claim a 3 OK
		7 8 w2 Complete a 3 OK`,
	"cancelled by the operator": `
		1 2 w1 Claim a 1 OK
		0 9 api Ended a 1 OK
		5 6 w2 Claim b 1 OK`,
}

var bad = map[string]struct{ history, names string }{
	"two holders at once of a run": {`
		1 2 w1 Claim a 1 OK
		3 4 w2 Claim a 2 OK`, "w2: Claim a, generation 2"},
	"two holders at once of a key": {`
		1 2 w1 Claim a 1 OK
		3 4 w2 Claim b 1 OK
		5 6 w1 Complete a 1 OK
		7 8 w2 Complete b 1 OK`, "w2: Claim b"},
	"two holders, though the answer to the first was lost": {`
		1 ... w1 Claim a 1 Unknown
		3 4 w2 Claim b 1 OK
		5 6 w1 Progress a 1 OK`, "w1: Progress a"},
	"a completion is accepted twice for a generation": {`
		1 2 w1 Claim a 1 OK
		3 4 w1 Complete a 1 OK
		5 6 w1 Complete a 1 OK`, "w1: Complete a, generation 1"},
	"two completions at once are accepted for a generation": {`
		1 2 w1 Claim a 1 OK
		3 7 w1 Complete a 1 OK
		4 6 w1 Fail a 1 OK`, "there is no place"},
	"a completion is accepted for a stale generation": {`
		1 2 w1 Claim a 1 OK
		0 9 api Released a 1 OK
		3 4 w2 Claim a 3 OK
		5 6 w1 Complete a 1 OK`, "w1: Complete a, generation 1"},
	"a completion is accepted after the release was seen": {`
		1 2 w1 Claim a 1 OK
		0 3 api Released a 1 OK
		4 5 w1 Complete a 1 OK`, "w1: Complete a, generation 1"},
	"a completion is accepted of a process that never claimed": {`
		1 2 w1 Claim a 1 OK
		3 4 w2 Complete a 1 OK`, "w2: Complete a, generation 1"},
	"a generation repeats": {`
		1 2 w1 Claim a 1 OK
		3 4 w1 GiveBack a 1 OK
		5 6 w2 Claim a 1 OK`, "w2: Claim a, generation 1"},
	"the generation that an expiry used repeats": {`
		1 2 w1 Claim a 1 OK
		0 3 api Released a 1 OK
		5 6 w2 Claim a 2 OK`, "w2: Claim a, generation 2"},
	"a generation falls": {`
		1 2 w1 Claim a 5 OK
		3 4 w1 GiveBack a 5 OK
		5 6 w2 Claim a 3 OK`, "w2: Claim a, generation 3"},
	"a run that ended is claimed": {`
		1 2 w1 Claim a 1 OK
		3 4 w1 Complete a 1 OK
		5 6 w2 Claim a 2 OK`, "w2: Claim a, generation 2"},
	"a run that was seen to have ended is claimed": {`
		0 3 api Ended a 0 OK
		5 6 w2 Claim a 2 OK`, "w2: Claim a, generation 2"},
	"progress after the lease was given back": {`
		1 2 w1 Claim a 1 OK
		3 4 w1 GiveBack a 1 OK
		5 6 w1 Progress a 1 OK`, "w1: Progress a, generation 1"},
}

func TestLease(t *testing.T) {
	for name, text := range good {
		t.Run(name, func(t *testing.T) {
			if err := Check(Lease(), script(t, text), time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	for name, test := range bad {
		t.Run(name, func(t *testing.T) {
			err := Check(Lease(), script(t, test.history), time.Minute)
			if err == nil {
				t.Fatal("the history was accepted")
			}
			if _, rest, _ := strings.Cut(err.Error(), "there is no place for"); !strings.Contains("there is no place for"+rest, test.names) {
				t.Errorf("the error does not name %q:\n%v", test.names, err)
			}
		})
	}
}

func TestKeysDoNotExcludeEachOther(t *testing.T) {
	operations := script(t, `
		1 2 w1 Claim a 1 OK
		3 4 w2 Claim b 1 OK`)
	operations[1].Key = "another"
	if err := Check(Lease(), operations, time.Minute); err != nil {
		t.Error(err)
	}
}

func TestLeaseIgnoresOperationsOutsideTheAPI(t *testing.T) {
	operations := script(t, `
		1 9 w1 Execute a 1 OK
		2 9 w2 Execute a 2 OK
		3 4 w1 Write a 1 OK`)
	operations = append(operations, Operation{Process: "w1", Kind: Renew, Holder: "w1", Outcome: OK})
	if err := Check(Lease(), operations, time.Minute); err != nil {
		t.Error(err)
	}
}

func TestCheckRefusesUnknownKinds(t *testing.T) {
	if err := Check(Lease(), script(t, "1 2 w1 Klaim a 1 OK"), time.Minute); err == nil {
		t.Error("the history was accepted")
	}
}

// TestManyUnknown shows that Check is fast enough for a history as long as that of a chaos test. The completions
// of every fifth holder have an unknown outcome: half of them took effect, half did not.
func TestManyUnknown(t *testing.T) {
	var text strings.Builder
	for i := range 100 {
		at := 10 * i
		fmt.Fprintf(&text, "%d %d w%d Claim r%d 1 OK\n", at, at+3, i, i)
		switch i % 10 {
		case 0:
			fmt.Fprintf(&text, "%d ... w%d Complete r%d 1 Unknown\n0 %d api Ended r%d 1 OK\n", at+4, i, i, at+12, i)
		case 5:
			fmt.Fprintf(&text, "%d ... w%d Complete r%d 1 Unknown\n0 %d api Released r%d 1 OK\n", at+4, i, i, at+12, i)
			fmt.Fprintf(&text, "%d %d y Claim r%d 3 OK\n%d %d y Complete r%d 3 OK\n", at+6, at+7, i, at+8, at+9, i)
		default:
			fmt.Fprintf(&text, "%d %d w%d Complete r%d 1 OK\n0 %d api Ended r%d 1 OK\n", at+4, at+6, i, i, at+12, i)
		}
		fmt.Fprintf(&text, "%d %d x Claim r%d 1 Refused\n", at, at+9, i)
	}
	operations := script(t, text.String())
	begin := time.Now()
	if err := Check(Lease(), operations, time.Minute); err != nil {
		t.Error(err)
	}
	t.Logf("%d operations took %s", len(operations), time.Since(begin))
	operations = append(operations, script(t, "995 2000 w7 Complete r97 1 OK")...)
	begin = time.Now()
	if err := Check(Lease(), operations, time.Minute); err == nil || !strings.Contains(err.Error(), "not linearizable") {
		t.Errorf("with a second completion, got error %v", err)
	}
	t.Logf("with a second completion, it took %s", time.Since(begin))
}
