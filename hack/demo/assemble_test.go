// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// machine is a machine for hack/k8s/assemble.sh, with scripts in place of binaries.
type machine struct {
	t                             *testing.T
	dir, built, links, home, path string
}

// Its Go compiler makes binaries of Kubernetes 1.37.2. The module is one of that version, too.
func newMachine(t *testing.T) machine {
	dir := t.TempDir()
	m := machine{t, dir, filepath.Join(dir, "built"), filepath.Join(dir, "links"), filepath.Join(dir, "home"), filepath.Join(dir, "path")}
	m.write("module/go.mod", 0o644, "module a\n\nrequire (\n\tgo.etcd.io/etcd/server/v3 v3.7.0\n\tk8s.io/kubernetes v1.37.2 // indirect\n)\n")
	m.write("module/go.sum", 0o644, "")
	m.write("path/go", 0o755, `#!/bin/sh
if [ "$1" = env ]; then echo linux; echo amd64; exit; fi
while [ $# -gt 1 ]; do [ "$1" = -o ] && out=$2; shift; done
printf '#!/bin/sh\necho Kubernetes v1.37.2\n' > "$out"; chmod +x "$out"
`)
	return m
}

func (m machine) write(name string, mode os.FileMode, content string) {
	m.t.Helper()
	file := filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), mode); err != nil {
		m.t.Fatal(err)
	}
}

// has puts a binary into a directory. It prints its version as the real one does.
func (m machine) has(dir, name, version string) {
	m.t.Helper()
	format := map[string]string{"etcd": "etcd Version: %s", "kubectl": "Client Version: v%s"}[name]
	if format == "" {
		format = "Kubernetes v%s"
	}
	m.write(filepath.Join(dir, name), 0o755, "#!/bin/sh\necho "+fmt.Sprintf(format, version)+"\necho Git SHA: 1.2.3\n")
}

// assemble returns where each binary comes from, and what the script printed.
func (m machine) assemble(environment ...string) (sources map[string]string, output string) {
	m.t.Helper()
	script, err := filepath.Abs("../k8s/assemble.sh")
	if err != nil {
		m.t.Fatal(err)
	}
	command := exec.Command(script, filepath.Join(m.dir, "module"), m.built, m.links)
	command.Env = append([]string{"HOME=" + m.home, "PATH=" + m.path + ":/usr/bin:/bin"}, environment...)
	text, err := command.CombinedOutput()
	if err != nil {
		m.t.Fatalf("%v\n%s", err, text)
	}
	sources = map[string]string{}
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"} {
		target, err := os.Readlink(filepath.Join(m.links, name))
		if err != nil {
			m.t.Fatal(err)
		}
		source, err := filepath.Rel(m.dir, filepath.Dir(target))
		if err != nil {
			m.t.Fatal(err)
		}
		sources[name] = source
	}
	return sources, string(text)
}

const store = "home/.local/share/kubebuilder-envtest/k8s/"

func TestAssemble(t *testing.T) {
	envtest := func(m machine, dir, version string) {
		for name, version := range map[string]string{"etcd": "3.6.4", "kube-apiserver": version, "kubectl": version} {
			m.has(dir, name, version)
		}
	}
	for name, test := range map[string]struct {
		has         func(m machine)
		environment string
		want        map[string]string // The others are built.
	}{
		"nothing": {has: func(machine) {}},
		"the store of setup-envtest": {
			has: func(m machine) {
				envtest(m, store+"1.37.0-linux-amd64", "1.37.0")
				envtest(m, store+"1.37.10-linux-amd64", "1.37.10")
				envtest(m, store+"1.37.11-linux-arm64", "1.37.11")
			},
			want: map[string]string{
				"etcd": store + "1.37.10-linux-amd64", "kube-apiserver": store + "1.37.10-linux-amd64", "kubectl": store + "1.37.10-linux-amd64",
			},
		},
		"an older store": {
			has:  func(m machine) { envtest(m, store+"1.36.2-linux-amd64", "1.36.2") },
			want: map[string]string{"etcd": store + "1.36.2-linux-amd64", "kubectl": store + "1.36.2-linux-amd64"},
		},
		"programs on PATH": {
			has: func(m machine) {
				m.has("path", "etcd", "3.5.30")
				m.has("path", "kubectl", "1.38.0")
				m.has("path", "kube-scheduler", "1.37.1")
			},
			want: map[string]string{"kubectl": "path", "kube-scheduler": "path"},
		},
		"too new": {
			has: func(m machine) {
				m.has("path", "etcd", "4.7.0")
				m.has("path", "kubectl", "1.39.0")
				m.has("path", "kube-apiserver", "1.38.0")
			},
		},
		"no binaries": {
			has: func(m machine) {
				m.write("path/kubectl", 0o755, "#!/bin/sh\nexit 1\n")
				m.write("path/etcd/file", 0o755, "")
			},
		},
		"KUBEBUILDER_ASSETS": {
			has: func(m machine) {
				envtest(m, store+"1.37.0-linux-amd64", "1.37.0")
				envtest(m, "mine", "1.37.1")
			},
			environment: "KUBEBUILDER_ASSETS=mine",
			want:        map[string]string{"etcd": "mine", "kube-apiserver": "mine", "kubectl": "mine"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			test.has(m)
			sources, output := m.assemble(strings.Replace(test.environment, "=", "="+m.dir+"/", 1))
			for name, got := range sources {
				want := "built"
				if found := test.want[name]; found != "" {
					want = found
				}
				if got != want {
					t.Errorf("%s comes from %s, want %s:\n%s", name, got, want, output)
				}
				if used := strings.Contains(output, "Using "+name+" "); used != (want != "built") {
					t.Errorf("says that it uses %s: %t:\n%s", name, used, output)
				}
			}
		})
	}
}

func TestAssembleSaysWhatItBuilds(t *testing.T) {
	m := newMachine(t)
	m.has("path", "etcd", "3.7.1")
	m.has("path", "kube-apiserver", "1.30.0")
	_, output := m.assemble()
	for _, want := range []string{
		"Using etcd 3.7.1 from " + m.path + "/etcd\n",
		m.path + "/kube-apiserver is version 1.30.0, which does not fit Kubernetes 1.37.2\n",
		"Building 4 binaries of Kubernetes v1.37.2 from Go modules, once: about 12 minutes on two cores when nothing is cached\n",
		"[4/4] kube-scheduler (about 30s when nothing is cached)\n",
	} {
		if !strings.Contains(output, want) {
			t.Errorf("no %q in:\n%s", want, output)
		}
	}
	if _, output := m.assemble(); strings.Contains(output, "Building") {
		t.Errorf("it builds again:\n%s", output)
	}
}

func TestAssembleTakesAllOfKubebuilderAssets(t *testing.T) {
	m := newMachine(t)
	for name, version := range map[string]string{
		"etcd": "3.5.16", "kube-apiserver": "1.32.13", "kube-controller-manager": "1.32.13", "kube-scheduler": "1.32.13", "kubectl": "1.32.3",
	} {
		m.has("mine", name, version)
	}
	sources, output := m.assemble("KUBEBUILDER_ASSETS=" + filepath.Join(m.dir, "mine"))
	for name, got := range sources {
		if got != "mine" {
			t.Errorf("%s comes from %s:\n%s", name, got, output)
		}
	}
}
