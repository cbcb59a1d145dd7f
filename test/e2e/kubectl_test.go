// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

var (
	kubectlPath string
	kubectlEnv  []string
)

func findKubectl() {
	GinkgoHelper()
	assets, err := checkout.Assets()
	Expect(err).NotTo(HaveOccurred())
	kubectlPath = filepath.Join(assets, "kubectl")
	Expect(kubectlPath).To(BeARegularFile(), "run `make k8s`, which builds it")
	plugins := checkout.Path("bin")
	Expect(filepath.Join(plugins, "kubectl-jobrun")).To(BeARegularFile(), "run `make build`, which builds it")
	kubectlEnv = append(os.Environ(), "KUBECACHEDIR="+GinkgoT().TempDir(),
		"PATH="+plugins+string(os.PathListSeparator)+os.Getenv("PATH"))
	if kubeconfig != "" {
		kubectlEnv = append(kubectlEnv, "KUBECONFIG="+kubeconfig)
	}
}

// answer is what kubectl said.
type answer struct {
	Command        string
	Stdout, Stderr string
	Code           int
}

func (a answer) String() string {
	return fmt.Sprintf("%s exited with %d\n%s%s", a.Command, a.Code, a.Stdout, a.Stderr)
}

// try runs kubectl in the spec's namespace.
func try(args ...string) answer {
	GinkgoHelper()
	return tryWith("", args...)
}

// tryWith runs kubectl with something to read.
func tryWith(stdin string, args ...string) answer {
	GinkgoHelper()
	return runKubectl(stdin, append([]string{"--namespace=" + ns}, args...)...)
}

func runKubectl(stdin string, args ...string) answer {
	GinkgoHelper()
	command := exec.CommandContext(ctx, kubectlPath, args...)
	command.Env = kubectlEnv
	command.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		Fail(err.Error())
	}
	a := answer{"kubectl " + strings.Join(args, " "), stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
	GinkgoWriter.Println(clip(a.String()))
	return a
}

// kubectl runs what must succeed, and returns what was printed.
func kubectl(args ...string) string {
	GinkgoHelper()
	return succeeded(try(args...))
}

func succeeded(a answer) string {
	GinkgoHelper()
	Expect(a.Code).To(BeZero(), a.String)
	return strings.TrimSpace(a.Stdout)
}

// apply triggers runs that must be accepted without a warning.
func apply(manifests ...manifest) {
	GinkgoHelper()
	a := tryApply(manifests...)
	Expect(a.Code).To(BeZero(), a.String)
	Expect(a.Stderr).To(BeEmpty())
}

func tryApply(manifests ...manifest) answer {
	GinkgoHelper()
	return tryWith(asYAML(manifests...), "apply", "-f", "-")
}

// get reads a JobRun.
func get(name string) v1alpha1.JobRun {
	GinkgoHelper()
	var run v1alpha1.JobRun
	Expect(json.Unmarshal([]byte(kubectl("get", "jobrun", name, "-o", "json")), &run)).To(Succeed())
	return run
}

// wait waits until a JobRun has the phase or, written Complete, Failed or Cancelled,
// the outcome.
func wait(name, what string) {
	GinkgoHelper()
	condition := "condition=" + what
	switch what {
	case v1alpha1.ConditionComplete, v1alpha1.ConditionFailed, v1alpha1.ConditionCancelled:
	default:
		condition = "jsonpath={.status.phase}=" + what
	}
	kubectl("wait", "jobrun/"+name, "--for="+condition, "--timeout="+patience.String())
}

// versions are the JobRuns and RunKeys there are, as they are.
func versions() string {
	GinkgoHelper()
	return kubectl("get", "jobruns,runkeys", "--no-headers",
		"-o", "custom-columns=KIND:.kind,NAME:.metadata.name,UID:.metadata.uid,VERSION:.metadata.resourceVersion")
}

// names lists what kubectl get finds.
func names(args ...string) []string {
	GinkgoHelper()
	return strings.Fields(kubectl(append([]string{"get", "-o", "jsonpath={.items[*].metadata.name}"}, args...)...))
}
