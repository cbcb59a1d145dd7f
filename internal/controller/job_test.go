package controller

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
)

// template has something of everything that the operator touches.
func template() batchv1.JobTemplateSpec {
	ttl := int32(7)
	own := []corev1.EnvVar{
		{Name: "GREETING", Value: "hello $(JOBRUN_NAME)"}, {Name: v1alpha1.EnvGeneration, Value: "999"}, {Name: "LAST", Value: "x"},
	}
	return batchv1.JobTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{
			Labels:      map[string]string{"kueue.x-k8s.io/queue-name": "q", v1alpha1.LabelRun: "forged"},
			Annotations: map[string]string{"team": "data", v1alpha1.AnnotationToken: "forged"},
		},
		Spec: batchv1.JobSpec{
			TTLSecondsAfterFinished: &ttl,
			BackoffLimit:            new(int32),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "sync", v1alpha1.LabelKey: "forged"}},
				Spec: corev1.PodSpec{
					InitContainers: []corev1.Container{{Name: "init"}},
					Containers:     []corev1.Container{{Name: "main", Env: own}, {Name: "side"}},
				},
			},
		},
	}
}

func TestBuildJob(t *testing.T) {
	run := made("a").TemplateObj(template()).Input(`{"cost":"$5 $(HOME) $$"}`).Key("$(KEY)").Obj()
	before := run.DeepCopy()
	keyName := v1alpha1.ConcurrencyKeyName(wrappers.JobName, "$(KEY)")

	env := []corev1.EnvVar{
		{Name: "JOBRUN_NAME", Value: "a"},
		{Name: "JOBRUN_NAMESPACE", Value: "default"},
		{Name: "JOBRUN_JOB_NAME", Value: "job"},
		{Name: "JOBRUN_INPUT", Value: `{"cost":"$$5 $$(HOME) $$$$"}`},
		{Name: "JOBRUN_CONCURRENCY_KEY", Value: "$$(KEY)"},
		{Name: "JOBRUN_GENERATION", Value: "3"},
		{Name: "JOBRUN_KEY_VERSION", Value: "17"},
	}
	ours := map[string]string{"batch.jobrun.dev/token": "token-a", "batch.jobrun.dev/generation": "3"}
	want := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: "a-3", Namespace: "default",
			Labels: map[string]string{
				"kueue.x-k8s.io/queue-name": "q",
				"batch.jobrun.dev/run":      "a", "batch.jobrun.dev/job-name": "job", "batch.jobrun.dev/key": keyName,
			},
			Annotations: merged(map[string]string{"team": "data"}, ours),
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "batch.jobrun.dev/v1alpha1", Kind: "JobRun", Name: "a", UID: "uid-a", Controller: new(true),
			}},
		},
		Spec: batchv1.JobSpec{
			BackoffLimit: new(int32),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels:      map[string]string{"app": "sync", "batch.jobrun.dev/run": "a", "batch.jobrun.dev/job-name": "job", "batch.jobrun.dev/key": keyName},
					Annotations: ours,
				},
				Spec: corev1.PodSpec{
					InitContainers: []corev1.Container{{Name: "init", Env: env}},
					Containers: []corev1.Container{
						{Name: "main", Env: append(append([]corev1.EnvVar{}, env...),
							corev1.EnvVar{Name: "GREETING", Value: "hello $(JOBRUN_NAME)"}, corev1.EnvVar{Name: "LAST", Value: "x"})},
						{Name: "side", Env: env},
					},
				},
			},
		},
	}
	if diff := cmp.Diff(want, buildJob(CreateJob{run, 3, "17"})); diff != "" {
		t.Errorf("Job (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, run); diff != "" {
		t.Errorf("the run changed:\n%s", diff)
	}
}

func TestBuildJobOfARunWithoutKeyAndInput(t *testing.T) {
	job := buildJob(CreateJob{Run: keyless("a").Obj(), Generation: 1})
	if _, ok := job.Labels[v1alpha1.LabelKey]; ok {
		t.Errorf("labels = %v", job.Labels)
	}
	for _, v := range job.Spec.Template.Spec.Containers[0].Env {
		if want, ok := map[string]string{"JOBRUN_INPUT": "null", "JOBRUN_CONCURRENCY_KEY": ""}[v.Name]; ok && v.Value != want {
			t.Errorf("%s = %q, want %q", v.Name, v.Value, want)
		}
	}
}

// The containers of one Pod do not share a list.
func TestAddEnvDoesNotAlias(t *testing.T) {
	job := buildJob(CreateJob{Run: made("a").TemplateObj(template()).Obj(), Generation: 1})
	containers := job.Spec.Template.Spec.Containers
	containers[1].Env[0].Value = "changed"
	if got := containers[0].Env[0].Value; got != "a" {
		t.Errorf("JOBRUN_NAME of another container became %q", got)
	}
}

// A Job is known by what the operator wrote on it, and nobody's Job by nothing.
func TestJobIdentity(t *testing.T) {
	id, generation := jobIdentity(buildJob(CreateJob{Run: made("a").Obj(), Generation: 3}))
	if id != (runkey.Identity{Name: "a", Token: "token-a"}) || generation != 3 {
		t.Errorf("identity = %v, generation %d", id, generation)
	}
	for _, garbage := range []string{"", "x", "1.5", "99999999999999999999"} {
		job := makeJob(made("a").Obj(), 3).Obj()
		job.Name = "a-" + garbage
		if _, generation := jobIdentity(job); generation != 0 {
			t.Errorf("generation %q is read as %d", garbage, generation)
		}
	}
	bare := makeJob(made("a").Obj(), 3).Obj()
	delete(bare.Annotations, v1alpha1.AnnotationGeneration)
	if _, generation := jobIdentity(bare); generation != 3 {
		t.Errorf("without its annotation the generation is read as %d", generation)
	}
	if id, generation := jobIdentity(&batchv1.Job{}); id != (runkey.Identity{}) || generation != 0 {
		t.Errorf("a bare Job is that of %v, generation %d", id, generation)
	}
}

func TestJobResult(t *testing.T) {
	condition := func(kind batchv1.JobConditionType, status corev1.ConditionStatus) *batchv1.Job {
		return &batchv1.Job{Status: batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: kind, Status: status}}}}
	}
	for name, tc := range map[string]struct {
		job  *batchv1.Job
		want batchv1.JobConditionType
	}{
		"no condition":       {job: &batchv1.Job{}},
		"suspended":          {job: condition(batchv1.JobSuspended, corev1.ConditionTrue)},
		"about to fail":      {job: condition(batchv1.JobFailureTarget, corev1.ConditionTrue)},
		"about to complete":  {job: condition(batchv1.JobSuccessCriteriaMet, corev1.ConditionTrue)},
		"not complete":       {job: condition(batchv1.JobComplete, corev1.ConditionFalse)},
		"maybe failed":       {job: condition(batchv1.JobFailed, corev1.ConditionUnknown)},
		"complete":           {job: condition(batchv1.JobComplete, corev1.ConditionTrue), want: batchv1.JobComplete},
		"failed":             {job: condition(batchv1.JobFailed, corev1.ConditionTrue), want: batchv1.JobFailed},
		"failed, after more": {job: makeJob(made("a").Obj(), 1).Failed("x", "").Obj(), want: batchv1.JobFailed},
	} {
		t.Run(name, func(t *testing.T) {
			var got batchv1.JobConditionType
			if c := jobResult(tc.job); c != nil {
				got = c.Type
			}
			if got != tc.want {
				t.Errorf("result %q, want %q", got, tc.want)
			}
		})
	}
}

// The reason of a Job's condition is its controller's, and need not be one of ours.
func TestResultOf(t *testing.T) {
	for reason, want := range map[string]string{
		"BackoffLimitExceeded": "BackoffLimitExceeded", "": "JobFailed", "pod-evicted": "JobFailed", strings.Repeat("a", 1025): "JobFailed",
	} {
		end := resultOf(&Execution{Job: makeJob(made("a").Obj(), 1).Failed(reason, "why").Obj()})
		if end.phase != v1alpha1.PhaseFailed || end.reason != want {
			t.Errorf("%.30s: %s, %s", reason, end.phase, end.reason)
		}
		if !strings.HasPrefix(end.message, reason) || !strings.HasSuffix(end.message, "why") {
			t.Errorf("%.30s: message %.60q", reason, end.message)
		}
	}
}

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
	running := pod(corev1.PodSucceeded, 9, "x")
	running.Status.ContainerStatuses[1].State = corev1.ContainerState{}
	for name, tc := range map[string]struct {
		pods []corev1.Pod
		want string
	}{
		"no Pod":                      {},
		"the first container":         {pods: []corev1.Pod{pod(corev1.PodSucceeded, 1, "1")}, want: "1"},
		"the Pod that ended last":     {pods: []corev1.Pod{pod(corev1.PodSucceeded, 1, "1"), pod(corev1.PodSucceeded, 3, "3"), pod(corev1.PodSucceeded, 2, "2")}, want: "3"},
		"no Pod that failed":          {pods: []corev1.Pod{pod(corev1.PodSucceeded, 1, "1"), pod(corev1.PodFailed, 3, "3")}, want: "1"},
		"no container that runs":      {pods: []corev1.Pod{pod(corev1.PodSucceeded, 1, "1"), running}, want: "1"},
		"a Pod without container":     {pods: []corev1.Pod{{Status: corev1.PodStatus{Phase: corev1.PodSucceeded}}}},
		"a container without message": {pods: []corev1.Pod{pod(corev1.PodSucceeded, 1, "")}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := raw(outputOf(tc.pods)); got != tc.want {
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
		"JSON whose 4 KiB end in time": {"7" + strings.Repeat(" ", 5000), "7"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := raw(outputJSON(tc.message)); got != tc.want {
				t.Errorf("outputJSON(%.40q) = %.80q, want %.80q", tc.message, got, tc.want)
			}
		})
	}
}

// Whatever a container leaves behind, the status that takes it is JSON.
func FuzzOutputJSON(f *testing.F) {
	for _, seed := range []string{"", "x", `{"a":1}`, "\xff", strings.Repeat("💥", 1025), `"` + strings.Repeat("\\", 4097), "\x00", "\u2028"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, message string) {
		output := outputJSON(message)
		if output == nil {
			if strings.TrimSpace(cut(message, v1alpha1.MaxOutputBytes)) != "" {
				t.Fatalf("the output %q is lost", message)
			}
			return
		}
		if !json.Valid(output.Raw) {
			t.Fatalf("%q is no JSON", output.Raw)
		}
		if !json.Valid([]byte(message)) && !utf8.Valid(output.Raw) {
			t.Fatalf("%q is no UTF-8", output.Raw)
		}
	})
}

func TestCut(t *testing.T) {
	for name, tc := range map[string]struct {
		text  string
		limit int
		want  string
	}{
		"shorter":                {"abc", 4, "abc"},
		"as long":                {"abcd", 4, "abcd"},
		"longer":                 {"abcde", 4, "abcd"},
		"between runes":          {"aé", 3, "aé"},
		"in a rune":              {"aé", 2, "a"},
		"in a rune of four":      {"💥💥", 7, "💥"},
		"in the first rune":      {"💥", 3, ""},
		"to nothing":             {"abc", 0, ""},
		"no text":                {"", 0, ""},
		"bytes that are no rune": {"\x80\x80\x80", 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := cut(tc.text, tc.limit); got != tc.want {
				t.Errorf("cut(%q, %d) = %q, want %q", tc.text, tc.limit, got, tc.want)
			}
		})
	}
}

func FuzzCut(f *testing.F) {
	f.Add("", uint16(0))
	f.Add("aé💥", uint16(4))
	f.Add("\x80\xff", uint16(1))
	f.Fuzz(func(t *testing.T, text string, limit16 uint16) {
		limit := int(limit16)
		got := cut(text, limit)
		if len(got) > limit || !strings.HasPrefix(text, got) {
			t.Fatalf("cut(%q, %d) = %q", text, limit, got)
		}
		if utf8.ValidString(text) && (!utf8.ValidString(got) || len(text)-len(got) >= utf8.UTFMax && limit-len(got) >= utf8.UTFMax) {
			t.Fatalf("cut(%q, %d) = %q: a rune is split or there was room for more", text, limit, got)
		}
	})
}

func TestOneLine(t *testing.T) {
	for name, tc := range map[string]struct{ message, want string }{
		"one line": {"no quota", "no quota"},
		"many":     {"  no\n\tquota \r\n at all ", "no quota at all"},
		"nothing":  {" \n ", ""},
		"too long": {strings.Repeat("é", 600), strings.Repeat("é", 512)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := oneLine(tc.message); got != tc.want {
				t.Errorf("oneLine(%.40q) = %.40q, want %.40q", tc.message, got, tc.want)
			}
		})
	}
}

func TestLeaseDuration(t *testing.T) {
	for name, tc := range map[string]struct {
		run  *v1alpha1.JobRun
		want time.Duration
	}{
		"a Job's lease ends with the Job":      {made("a").Leased(1, "5").Obj(), 0},
		"a Job asked for heartbeats":           {made("a").LeaseSeconds(5).Leased(1, "5").Obj(), 5 * time.Second},
		"a worker's lease":                     {makeRun("a").Leased(1, "5").Obj(), 30 * time.Second},
		"a worker's lease as long as the spec": {makeRun("a").LeaseSeconds(7).Leased(1, "5").Obj(), 7 * time.Second},
		"a worker's lease as long as it says":  {workerLease(9), 9 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if got := leaseDuration(tc.run); got != tc.want {
				t.Errorf("leaseDuration() = %s, want %s", got, tc.want)
			}
		})
	}
}

func workerLease(seconds int32) *v1alpha1.JobRun {
	run := makeRun("a").LeaseSeconds(7).Leased(1, "5").Obj()
	run.Status.Lease.DurationSeconds = seconds
	return run
}
