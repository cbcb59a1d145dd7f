// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/decision"
)

// logged returns a context with a logger of the reconciler, and the lines that the logger has written. Each line begins
// with its level.
func logged(t *testing.T, req Request) (context.Context, *[]string) {
	t.Helper()
	var lines []string
	sink := funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{Verbosity: 1})
	return log.IntoContext(t.Context(), newLogger(sink)(&req)), &lines
}

func TestPlanIsLoggedOnOneLine(t *testing.T) {
	a := made("a").Leased(1, "5").Obj()
	ended := a.DeepCopy().Status
	ended.Output = &apiextensionsv1.JSON{Raw: []byte(`{"secret":3}`)}
	refused := errors.New("connection refused")
	for name, tc := range map[string]struct {
		plan decision.Plan
		fail error
		want []string
	}{
		"whole": {
			decision.Plan{Step: "copy-outcome", Ops: []decision.Op{
				decision.SwapKey{Next: &makeKey("k").Pending("b").Obj().Spec}, decision.WriteStatus{Run: a, Status: ended},
			}}, nil,
			[]string{`"level"=0 "msg"="Carried out a plan" ` + homeFields() + ` "step"="copy-outcome" "jobName"="job" "key"="k" ` +
				`"wrote"=["RunKey ` + home.RunKey + `: pending=b" "JobRun a: Leased, output of 12 bytes"] "run"="a"`},
		},
		"in part": {
			decision.Plan{Step: "release", Ops: []decision.Op{decision.SwapKey{}, decision.WriteStatus{Run: a, Status: ended}}}, refused,
			[]string{`"level"=0 "msg"="Carried out part of a plan" ` + homeFields() + ` "step"="release" "jobName"="job" "key"="k" ` +
				`"wrote"=["RunKey ` + home.RunKey + `: free"] "run"="a" ` +
				`"reason"="release of run a (job job, key \"k\"): write the status of JobRun default/a: connection refused"`},
		},
		"nothing, for debugging": {
			decision.Plan{Step: "copy-outcome", Ops: []decision.Op{decision.WriteStatus{Run: a, Status: ended}}}, refused,
			[]string{`"level"=1 "msg"="Carried out part of a plan" ` + homeFields() + ` "step"="copy-outcome" "jobName"="job" "key"="k" ` +
				`"wrote"=[] "run"="a" ` +
				`"reason"="copy-outcome of run a (job job, key \"k\"): write the status of JobRun default/a: connection refused"`},
		},
		"no plan": {decision.Plan{}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(makeKey("k").Leased("a", 1, "5").Obj(), a)
			b.store.Before = func(_ string, o client.Object) error {
				if _, isRun := o.(*v1alpha1.JobRun); isRun {
					return tc.fail
				}
				return nil
			}
			ctx, lines := logged(t, home)
			_ = b.decidedOn(makeKey("k").Leased("a", 1, "5").Obj(), a).act(ctx, tc.plan)
			if diff := cmp.Diff(tc.want, *lines); diff != "" {
				t.Errorf("(- want, + got)\n%s", diff)
			}
		})
	}
}

// homeFields returns the fields by which the logger names the home of these tests.
func homeFields() string {
	return fmt.Sprintf(`"controller"="jobrun" "namespace"=%q "runKey"=%q`, home.Namespace, home.RunKey)
}

func TestConflictIsLoggedForDebuggingOnly(t *testing.T) {
	b := newBench(makeKey("k").Pending("a").Obj())
	ctx, lines := logged(t, home)
	stale := makeKey("k").Obj()
	stale.ResourceVersion = "9"
	if err := b.decidedOn(stale).act(ctx, decision.Plan{Step: "claim", Ops: []decision.Op{decision.CheckKey{}}}); !errors.Is(err, errStale) {
		t.Fatal(err)
	}
	if len(*lines) != 1 || !strings.HasPrefix((*lines)[0], `"level"=1 `) {
		t.Errorf("%q", *lines)
	}
}

// What a container wrote is not logged. The size tells that there is more.
func TestStatusNoteHidesWhatTheContainerWrote(t *testing.T) {
	status := made("a").Leased(1, "5").Error("BackoffLimitExceeded: container main exited with code 3 (Error): secret").Obj().Status
	status.Failure = &v1alpha1.RunFailure{Container: "main", ExitCode: new(int32(3)), Reason: "Error", Message: "secret"}
	want := `Leased, "container main exited with code 3 (Error), message of 6 bytes"`
	if got := statusNote(made("a").Leased(1, "5").Obj(), status); got != want {
		t.Errorf("note %q, want %q", got, want)
	}
}
