// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
	"github.com/jobrun-dev/jobrun/internal/text"
)

func TestOutputOf(t *testing.T) {
	pod := func(phase corev1.PodPhase, seconds int, first string) corev1.Pod {
		end := func(message string) corev1.ContainerState {
			return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: message, FinishedAt: wrappers.At(seconds)}}
		}
		return corev1.Pod{
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}, {Name: "side"}}},
			Status: corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{
				{Name: "side", State: end("side")}, {Name: "main", State: end(first)},
			}},
		}
	}
	indexed := func(pod corev1.Pod, index string) corev1.Pod {
		pod.Annotations = map[string]string{batchv1.JobCompletionIndexAnnotation: index}
		return pod
	}
	injected := pod(corev1.PodSucceeded, 1, "1")
	slices.Reverse(injected.Spec.Containers)
	running := pod(corev1.PodSucceeded, 9, "x")
	running.Status.ContainerStatuses[1].State = corev1.ContainerState{}
	for name, tc := range map[string]struct {
		pods []corev1.Pod
		want string
	}{
		"no Pod":                  {},
		"the named container":     {pods: []corev1.Pod{pod(corev1.PodSucceeded, 1, "1")}, want: "1"},
		"the Pod that ended last": {pods: []corev1.Pod{pod(corev1.PodSucceeded, 1, "1"), pod(corev1.PodSucceeded, 3, "3"), pod(corev1.PodSucceeded, 2, "2")}, want: "3"},
		"no Pod that failed":      {pods: []corev1.Pod{pod(corev1.PodSucceeded, 1, "1"), pod(corev1.PodFailed, 3, "3")}, want: "1"},
		"no container that runs":  {pods: []corev1.Pod{pod(corev1.PodSucceeded, 1, "1"), running}, want: "1"},
		"another one before it":   {pods: []corev1.Pod{injected}, want: "1"},
		"the lowest index": {pods: []corev1.Pod{
			indexed(pod(corev1.PodSucceeded, 3, "3"), "10"), indexed(pod(corev1.PodSucceeded, 1, "1"), "2"), indexed(pod(corev1.PodSucceeded, 2, "2"), "9"),
		}, want: "1"},
		"the lowest index that succeeded": {pods: []corev1.Pod{
			indexed(pod(corev1.PodFailed, 1, "1"), "0"), indexed(pod(corev1.PodSucceeded, 2, "2"), "0"), indexed(pod(corev1.PodSucceeded, 3, "3"), "1"),
		}, want: "2"},
		"a Pod without container":     {pods: []corev1.Pod{{Status: corev1.PodStatus{Phase: corev1.PodSucceeded}}}},
		"a container without message": {pods: []corev1.Pod{pod(corev1.PodSucceeded, 1, "")}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := raw(OutputOf(tc.pods, "main")); got != tc.want {
				t.Errorf("output %q, want %q", got, tc.want)
			}
		})
	}
}

func raw(output *apiextensionsv1.JSON) string {
	if output == nil {
		return ""
	}
	return string(output.Raw)
}

// The output is unknown only if no Pod that succeeded is left, and the Job needed one.
func TestHasOutput(t *testing.T) {
	failed, succeeded := corev1.Pod{}, corev1.Pod{}
	failed.Status.Phase, succeeded.Status.Phase = corev1.PodFailed, corev1.PodSucceeded
	none := made("a").Obj()
	none.Spec.Template.Spec.Completions = new(int32(0))
	for name, tc := range map[string]struct {
		run  *v1alpha1.JobRun
		pods []corev1.Pod
		want bool
	}{
		"no Pod is left":          {made("a").Obj(), nil, false},
		"a Pod that failed":       {made("a").Obj(), []corev1.Pod{failed}, false},
		"a Pod without a message": {made("a").Obj(), []corev1.Pod{failed, succeeded}, true},
		"a Job without Pods":      {none, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := HasOutput(tc.run, &batchv1.Job{}, tc.pods); got != tc.want {
				t.Errorf("has output: %t, want %t", got, tc.want)
			}
		})
	}
}

func TestOutputJSON(t *testing.T) {
	for name, tc := range map[string]struct{ message, want string }{
		"empty":                        {"", ""},
		"space":                        {" \n\t", ""},
		"an object":                    {`{"rows": 3, "more": [1, null]}`, `{"rows": 3, "more": [1, null]}`},
		"space around":                 {"\n 42 \n", "42"},
		"a JSON string":                {`"done"`, `"done"`},
		"null":                         {"null", "null"},
		"text":                         {"all is well", `"all is well"`},
		"text of two lines":            {"a\nb", `"a\nb"`},
		"quotes":                       {`say "hi"`, `"say \"hi\""`},
		"two values are text":          {"1 2", `"1 2"`},
		"nearly JSON":                  {`{"a":1,}`, `"{\"a\":1,}"`},
		"a number that is none":        {"NaN", `"NaN"`},
		"invalid UTF-8":                {"a\xffb", `"a` + "\uFFFD" + `b"`},
		"other scripts":                {"готово 💥", `"готово 💥"`},
		"4 KiB of text":                {strings.Repeat("x", 4096), `"` + strings.Repeat("x", 4096) + `"`},
		"more than 4 KiB":              {strings.Repeat("x", 5000), `"` + strings.Repeat("x", 4096) + `"`},
		"more than 4 KiB, in a rune":   {strings.Repeat("x", 4095) + "💥💥", `"` + strings.Repeat("x", 4095) + `"`},
		"more than 4 KiB of JSON":      {`"` + strings.Repeat("x", 5000) + `"`, `"\"` + strings.Repeat("x", 4095) + `"`},
		"64 levels":                    {strings.Repeat("[", 64) + strings.Repeat("]", 64), strings.Repeat("[", 64) + strings.Repeat("]", 64)},
		"65 levels are text":           {strings.Repeat("[", 65) + strings.Repeat("]", 65), `"` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `"`},
		"JSON whose 4 KiB end in time": {"7" + strings.Repeat(" ", 5000), "7"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := raw(outputJSON(tc.message)); got != tc.want {
				t.Errorf("outputJSON(%.40q) = %.80q, want %.80q", tc.message, got, tc.want)
			}
		})
	}
}

// The output is JSON, whatever the termination message is.
func FuzzOutputJSON(f *testing.F) {
	for _, seed := range []string{"", "x", `{"a":1}`, "\xff", strings.Repeat("💥", 1025), `"` + strings.Repeat("\\", 4097), "\x00", "\u2028"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, message string) {
		output := outputJSON(message)
		if output == nil {
			if strings.TrimSpace(text.Cut(message, v1alpha1.MaxOutputBytes)) != "" {
				t.Fatalf("the output %q is lost", message)
			}
			return
		}
		if !json.Valid(output.Raw) {
			t.Fatalf("%q is not JSON", output.Raw)
		}
		if !json.Valid([]byte(message)) && !utf8.Valid(output.Raw) {
			t.Fatalf("%q is no UTF-8", output.Raw)
		}
	})
}

// The API server can decode the output, whatever the termination message is.
func TestOutputCanBeStored(t *testing.T) {
	for _, message := range []string{"1e999", `{"a":[-1e400]}`, "\"\xff\"", `"\ud800"`} {
		var value any
		if err := utiljson.Unmarshal(outputJSON(message).Raw, &value); err != nil {
			t.Errorf("output of %q: %v", message, err)
		}
	}
}
