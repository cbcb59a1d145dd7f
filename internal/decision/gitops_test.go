// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decision

import (
	"os"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
	"github.com/jobrun-dev/jobrun/internal/testing/health"
)

// manifestOf returns the YAML in docs/gitops.md that contains a text.
func manifestOf(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	page, err := os.ReadFile(checkout.Path("docs", "gitops.md"))
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(page), "```") {
		manifest, isYAML := strings.CutPrefix(block, "yaml\n")
		if !isYAML || !strings.Contains(manifest, text) {
			continue
		}
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(manifest), &object.Object); err != nil {
			t.Fatal(err)
		}
		return object
	}
	t.Fatalf("docs/gitops.md has no YAML with %q", text)
	return nil
}

// told returns the JobRuns of every phase, and one that ended under a version without Ready and Stalled.
func told() map[string]life {
	all := lives()
	all["Failed under an older version"] = life{made("a").Leased(1, "5").Ended(v1alpha1.PhaseFailed).Reported().Obj(), status.FailedStatus}
	return all
}

func untyped(t *testing.T, run *v1alpha1.JobRun) map[string]any {
	t.Helper()
	object, err := health.Untyped(run)
	if err != nil {
		t.Fatal(err)
	}
	return object.Object
}

func TestDocumentedExpressionsForFlux(t *testing.T) {
	all, found, err := unstructured.NestedSlice(manifestOf(t, "healthCheckExprs").Object, "spec", "healthCheckExprs")
	if err != nil || !found {
		t.Fatal("no healthCheckExprs", err)
	}
	expressions := all[0].(map[string]any)
	environment, err := cel.NewEnv()
	if err != nil {
		t.Fatal(err)
	}
	for name, life := range told() {
		t.Run(name, func(t *testing.T) {
			if got := inFlux(t, environment, expressions, untyped(t, life.run)); got != life.want {
				t.Errorf("Flux reads %s, want %s", got, life.want)
			}
		})
	}
}

// inFlux returns what Flux reads in an object (github.com/fluxcd/pkg/runtime/cel, RFC 0009).
func inFlux(t *testing.T, environment *cel.Env, expressions, object map[string]any) status.Status {
	t.Helper()
	observed, ok, _ := unstructured.NestedInt64(object, "status", "observedGeneration")
	if generation, _, _ := unstructured.NestedInt64(object, "metadata", "generation"); ok && observed != generation {
		return status.InProgressStatus
	}
	for _, step := range []struct {
		name string
		is   status.Status
	}{{"inProgress", status.InProgressStatus}, {"failed", status.FailedStatus}, {"current", status.CurrentStatus}} {
		parsed, issues := environment.Parse(expressions[step.name].(string))
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		program, err := environment.Program(parsed)
		if err != nil {
			t.Fatal(err)
		}
		result, _, err := program.Eval(object)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if holds, _ := result.Value().(bool); holds {
			return step.is
		}
	}
	return status.InProgressStatus
}

func TestDocumentedHealthCheckForArgoCD(t *testing.T) {
	const name = "resource.customizations.health.batch.jobrun.dev_JobRun"
	script, found, err := unstructured.NestedString(manifestOf(t, name).Object, "data", name)
	if err != nil || !found {
		t.Fatal("no script", err)
	}
	meaning := map[string]status.Status{
		"Progressing": status.InProgressStatus, "Healthy": status.CurrentStatus, "Degraded": status.FailedStatus,
	}
	for name, life := range told() {
		t.Run(name, func(t *testing.T) {
			got, message := inArgoCD(t, script, untyped(t, life.run))
			if meaning[got] != life.want || message == "nil" {
				t.Errorf("Argo CD reads %q (%q), want %s", got, message, life.want)
			}
		})
	}
}

// inArgoCD runs a health check as Argo CD does: obj is the object, and the script returns a table.
func inArgoCD(t *testing.T, script string, object map[string]any) (health, message string) {
	t.Helper()
	machine := lua.NewState()
	defer machine.Close()
	machine.SetGlobal("obj", luaValue(machine, object))
	if err := machine.DoString(script); err != nil {
		t.Fatal(err)
	}
	result, ok := machine.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("the script returns %s", machine.Get(-1))
	}
	return result.RawGetString("status").String(), result.RawGetString("message").String()
}

// luaValue returns a JSON value as Lua sees it.
func luaValue(machine *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case map[string]any:
		table := machine.NewTable()
		for name, field := range value {
			table.RawSetString(name, luaValue(machine, field))
		}
		return table
	case []any:
		table := machine.NewTable()
		for _, element := range value {
			table.Append(luaValue(machine, element))
		}
		return table
	case string:
		return lua.LString(value)
	case bool:
		return lua.LBool(value)
	case int64:
		return lua.LNumber(value)
	default:
		return lua.LNil
	}
}
