// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package holder

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

func TestPatches(t *testing.T) {
	run := &v1alpha1.JobRun{Status: v1alpha1.JobRunStatus{Lease: &v1alpha1.RunLease{HolderIdentity: "w", Generation: 3, KeyVersion: "7"}}}
	now := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	held := `{"op":"test","path":"/status/phase","value":"Leased"},{"op":"test","path":"/status/lease/generation","value":3}`
	ended := func(phase string) string {
		return `{"op":"add","path":"/status/finishedGeneration","value":3},{"op":"add","path":"/status/phase","value":"` + phase + `"}`
	}
	long := strings.Repeat("ü", 1023) + "…"
	for name, tc := range map[string]struct {
		patch Patch
		want  string
	}{
		"complete":             {Complete(3, json.RawMessage(`{"a":null}`)), ended("Completed") + `,{"op":"add","path":"/status/output","value":{"a":null}}`},
		"without output":       {Complete(3, nil), ended("Completed")},
		"with an output null":  {Complete(3, json.RawMessage("null")), ended("Completed")},
		"fail":                 {Fail(3, "two\nlines"), ended("Failed") + `,{"op":"add","path":"/status/error","value":"two lines"}`},
		"fail without message": {Fail(3, " "), ended("Failed") + `,{"op":"add","path":"/status/error","value":"failed without a message"}`},
		"fail at length":       {Fail(3, strings.Repeat("ü", 2000)), ended("Failed") + `,{"op":"add","path":"/status/error","value":"` + long + `"}`},
		"give back":            {GiveBack(run, 3), held + `,{"op":"replace","path":"/status/lease","value":{"generation":4,"keyVersion":"7"}}`},
		"renew":                {Renew(3, now), held + `,{"op":"add","path":"/status/lease/renewTime","value":"2026-01-02T03:04:05.000006Z"}`},
		"report": {
			Report(3, 1, 2, "rows"),
			`{"op":"test","path":"/status/phase","value":"Leased"},{"op":"add","path":"/status/progress","value":{"generation":3,"current":1,"total":2,"message":"rows"}}`,
		},
		"report of no total": {
			Report(3, 0, 0, ""),
			`{"op":"test","path":"/status/phase","value":"Leased"},{"op":"add","path":"/status/progress","value":{"generation":3,"current":0}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(tc.patch)
			if err != nil || string(got) != "["+tc.want+"]" {
				t.Errorf("got %s, want [%s], error %v", got, tc.want, err)
			}
		})
	}
}
