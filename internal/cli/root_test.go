// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

func TestCommandLine(t *testing.T) {
	for name, tc := range map[string]struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		"nothing":         {stdout: "~Exit codes:~trigger     Trigger a run of a job"},
		"help":            {args: []string{"trigger", "--help"}, stdout: "~Usage:\n  kubectl jobrun trigger [JOB]~Examples:~--coalesce~kubectl jobrun options"},
		"unknown command": {args: []string{"trgger"}, code: 2, stderr: "~unknown command \"trgger\" for \"kubectl jobrun\"; did you mean \"trigger\"?"},
		"version":         {args: []string{"version"}, stdout: "kubectl jobrun v1.2.3\n"},
		"--version":       {args: []string{"--version"}, stdout: "kubectl jobrun v1.2.3\n"},
		"-v":              {args: []string{"-v"}, code: 2, stderr: "~unknown shorthand flag: 'v'"},
		"options":         {args: []string{"options"}, stdout: "~--namespace~--context~--kubeconfig~--as"},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) { s.want(s.run(tc.args...), tc.code, tc.stdout, tc.stderr) })
		})
	}
}

// A wrong command line is reported as such even if the kubeconfig is wrong, too.
func TestCommandLineComesBeforeTheKubeconfig(t *testing.T) {
	worker := []string{"worker", "--job=a", "--concurrency=0", "--", os.Args[0]}
	for _, wrong := range [][]string{
		{"trigger"}, {"trigger", "a", "--ttl=1ms"}, {"trigger", "a", "-n", "here", "-f", "-"}, {"retrigger", "a", "--label=x"},
		{"wait", "a", "--timeout=-1s"}, {"cancel", "a", "-o", "xml"}, {"claim"}, {"keys", "-o", "xml"}, worker, {"fail", "a", "--generation=1"},
	} {
		t.Run(strings.Join(wrong, " "), func(t *testing.T) {
			var out, errOut bytes.Buffer
			streams := genericiooptions.IOStreams{
				In: strings.NewReader("metadata: {namespace: there}\nspec: {jobName: a}"), Out: &out, ErrOut: &errOut,
			}
			args := slices.Insert(slices.Clone(wrong), 1, "--kubeconfig="+t.TempDir()+"/none")
			if code := Main(t.Context(), args, Options{Streams: streams}); code != exitUsage {
				t.Errorf("exit code %d: %s", code, &errOut)
			}
		})
	}
}

func TestFlagsOfAllCommandsAreNotInTheirHelp(t *testing.T) {
	inScene(t, func(t *testing.T, s *scene) {
		s.run("wait", "--help")
		if strings.Contains(s.stdout.String(), "--kubeconfig") {
			t.Error(s.stdout.String())
		}
	})
}

func TestCompletion(t *testing.T) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-a"}}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"commands":   {[]string{"ret"}, "retrigger\tTrigger a JobRun's work again\n:4\n"},
		"runs":       {[]string{"wait", ""}, "a\nb\n:4\n"},
		"one run":    {[]string{"wait", "a", ""}, ":4\n"},
		"jobs":       {[]string{"trigger", "s"}, "sync\n:4\n"},
		"a job flag": {[]string{"claim", "--job", "s"}, "sync\n:4\n"},
		"list's":     {[]string{"list", "--job", "s"}, "sync\n:4\n"},
		"worker's":   {[]string{"worker", "--job", "s"}, "sync\n:4\n"},
		"held runs":  {[]string{"renew", ""}, "a\nb\n:4\n"},
		"formats":    {[]string{"keys", "-o", "j"}, "~json\n~name\n~wide\n~:4\n"},
		"namespaces": {[]string{"keys", "-n", ""}, "team-a\n:4\n"},
	} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(_ *testing.T, s *scene) {
				s.want(s.run(append([]string{"__complete"}, tc.args...)...), 0, tc.want, "~ShellCompDirectiveNoFileComp")
			}, aRun("a"), aRun("b"), namespace)
		})
	}
}
