// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The exit codes of the plugin.
const (
	codeOK          = 0
	codeFailed      = 1
	codeUsage       = 2
	codeConflict    = 3
	codeTimeout     = 4
	codeInterrupted = 130
)

// plugin runs `kubectl jobrun`, as kubectl finds it, in the spec's namespace.
func plugin(args ...string) answer {
	GinkgoHelper()
	return pluginWith("", args...)
}

// pluginWith runs it with something to read.
func pluginWith(stdin string, args ...string) answer {
	GinkgoHelper()
	return runKubectl(stdin, inNamespace(args)...)
}

// inNamespace names the namespace behind the plugin's own command, where kubectl lets it be.
func inNamespace(args []string) []string {
	return append([]string{"jobrun", args[0], "--namespace=" + ns}, args[1:]...)
}

// says expects an exit code and what was printed.
func says(code int, stdout, stderr any) types.GomegaMatcher {
	return And(HaveField("Code", code), HaveField("Stdout", stdout), HaveField("Stderr", stderr))
}

// interrupted runs the plugin until stdout has a line, presses Ctrl-C and says what that gave.
func interrupted(line string, args ...string) answer {
	GinkgoHelper()
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	command := exec.CommandContext(limited, kubectlPath, inNamespace(args)...)
	command.Env = kubectlEnv
	stdout, err := os.Create(filepath.Join(GinkgoT().TempDir(), "stdout"))
	Expect(err).NotTo(HaveOccurred())
	defer stdout.Close()
	var stderr bytes.Buffer
	command.Stdout, command.Stderr = stdout, &stderr
	Expect(command.Start()).To(Succeed())
	Eventually(os.ReadFile).WithArguments(stdout.Name()).Should(ContainSubstring(line))
	Expect(command.Process.Signal(os.Interrupt)).To(Succeed())
	_ = command.Wait() // its exit code is what it says
	written, err := os.ReadFile(stdout.Name())
	Expect(err).NotTo(HaveOccurred())
	return answer{"Ctrl-C", string(written), stderr.String(), command.ProcessState.ExitCode()}
}

// started starts the plugin, which is killed at the end of the spec if it has not ended.
func started(args ...string) *exec.Cmd {
	GinkgoHelper()
	command := exec.CommandContext(ctx, kubectlPath, inNamespace(args)...)
	command.Env = kubectlEnv
	command.Stdout, command.Stderr = GinkgoWriter, GinkgoWriter
	Expect(command.Start()).To(Succeed())
	DeferCleanup(func() { killed(command) })
	return command
}

// killed kills a process with SIGKILL and waits for its end.
func killed(command *exec.Cmd) {
	_ = command.Process.Kill() // it may have ended
	_ = command.Wait()
}

// as lets kubectl be a user who has a ClusterRole in the spec's namespace. The role must allow reading JobRuns.
func as(role string, do func()) {
	GinkgoHelper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: role}}
	Expect(k8s.Create(ctx, account)).To(Succeed())
	Expect(k8s.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: role}},
	})).To(Succeed())
	theirs, err := plane.ServiceAccountKubeconfig(ctx, ns, role)
	Expect(err).NotTo(HaveOccurred())
	before := kubectlEnv
	defer func() { kubectlEnv = before }()
	kubectlEnv = slices.Concat(before, []string{"KUBECONFIG=" + theirs})
	// The built-in roles are aggregated by a controller, and known to the API server a moment later.
	Eventually(try).WithArguments("get", "jobruns").Should(HaveField("Code", 0))
	do()
}
