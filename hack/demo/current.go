// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
	"github.com/jobrun-dev/jobrun/test/harness/operator"
)

const (
	// storyNamespace is the namespace of the story in a cluster that has other things, too.
	storyNamespace = "jobrun-demo"
	// oldest is the oldest Kubernetes that JobRun supports.
	oldest = "1.32.0"
	// tidyTimeout bounds the removal of what the demo made.
	tidyTimeout = 3 * time.Minute
)

// installation is what the demo makes in a cluster that is not its own. It is made of the manifests, and of storyNamespace.
type installation struct {
	cp       *controlplane.ControlPlane
	file     string // the manifests
	story    bool   // it made storyNamespace
	operator bool   // it may have made something of the manifests
}

// startCurrent installs JobRun in the cluster of kubectl's current context. The replicas of the manager run on this machine, and
// the API server calls them at address. It refuses a cluster that has any of the objects that it would make.
func startCurrent(ctx context.Context, root, address string) (*demo, error) {
	kubeconfig, err := currentContext()
	if err != nil {
		return nil, err
	}
	d := &demo{root: root}
	d.say("Using the context %q of your kubeconfig: %s.", kubeconfig.CurrentContext, serverOf(kubeconfig))
	if d.cp, err = controlplane.Attach(kubeconfig, controlplane.Options{}); err != nil {
		return nil, err
	}
	if d.made, err = d.prepareInstallation(ctx); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	if err := d.installCurrent(ctx, address); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

// currentContext returns the kubeconfig that kubectl would use, with nothing but its current context, in storyNamespace.
func currentContext() (*api.Config, error) {
	kubeconfig, err := clientcmd.NewDefaultClientConfigLoadingRules().Load()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	if kubeconfig.Contexts[kubeconfig.CurrentContext] == nil {
		return nil, errors.New("the kubeconfig has no current context: choose one with `kubectl config use-context`, or name the file in KUBECONFIG")
	}
	if err := api.MinifyConfig(kubeconfig); err != nil {
		return nil, fmt.Errorf("the kubeconfig: %w", err)
	}
	kubeconfig.Contexts[kubeconfig.CurrentContext].Namespace = storyNamespace
	return kubeconfig, nil
}

func serverOf(kubeconfig *api.Config) string {
	if cluster := kubeconfig.Clusters[kubeconfig.Contexts[kubeconfig.CurrentContext].Cluster]; cluster != nil {
		return cluster.Server
	}
	return "it names no cluster"
}

// prepareInstallation checks the cluster, and changes nothing in it.
func (d *demo) prepareInstallation(ctx context.Context) (*installation, error) {
	if err := d.checkVersion(); err != nil {
		return nil, err
	}
	made := &installation{cp: d.cp, file: filepath.Join(d.cp.Dir(), "install.yaml")}
	manifests, err := d.cp.Kubectl(ctx, "kustomize", filepath.Join(d.root, "config", "default"), "--output="+made.file).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("build the manifests: %w\n%s", err, manifests)
	}
	found, err := made.existing(ctx)
	if err != nil {
		return nil, err
	}
	if found != "" {
		return nil, fmt.Errorf("the cluster has JobRun already, or a part of it. The demo would change and delete this:\n%s\n"+
			"choose another cluster, or remove JobRun first, as docs/operations.md tells", found)
	}
	return made, nil
}

func (d *demo) checkVersion() error {
	client, err := discovery.NewDiscoveryClientForConfig(d.cp.AdminConfig())
	if err != nil {
		return err
	}
	info, err := client.ServerVersion()
	if err != nil {
		return fmt.Errorf("ask the cluster for its version: %w", err)
	}
	got, err := version.ParseGeneric(info.GitVersion)
	if err != nil {
		return fmt.Errorf("the version of the cluster: %w", err)
	}
	if got.LessThan(version.MustParseGeneric(oldest)) {
		return fmt.Errorf("the cluster runs Kubernetes %s, and JobRun needs %s or later", info.GitVersion, strings.TrimSuffix(oldest, ".0"))
	}
	return nil
}

func (d *demo) installCurrent(ctx context.Context, address string) error {
	d.say("Installing JobRun there, in the namespace %s. The story goes in %s. Two replicas of the manager start on this machine,\n"+
		"and the API server must reach them at %s. All of it is deleted at the end. If the demo is killed, delete it with\n\n"+
		"    kubectl delete namespace %s && kubectl kustomize config/default | kubectl delete --ignore-not-found -f -",
		operator.Namespace, storyNamespace, address, storyNamespace)
	if err := d.quietly(ctx, "create", "namespace", storyNamespace); err != nil {
		return err // it may be the namespace of somebody else
	}
	d.made.story = true
	d.made.operator = true
	var err error
	if d.operator, err = operator.Install(ctx, d.cp, operator.Options{Root: d.root, Managers: 2, Host: address}); err != nil {
		return err
	}
	if err := d.quietly(ctx, "create", "--dry-run=server", "-f", filepath.Join(d.root, "config", "samples", "count-words.yaml")); err != nil {
		return fmt.Errorf("the API server does not reach the manager on this machine at %s: name an address that it reaches with ADDRESS: %w",
			address, err)
	}
	return nil
}

// existing returns the names of the objects in the cluster that the demo would make.
func (i *installation) existing(ctx context.Context) (string, error) {
	var found bytes.Buffer
	for _, args := range [][]string{{"--filename=" + i.file}, {"namespace", storyNamespace}} {
		args = append([]string{"get", "--ignore-not-found", "--output=name"}, args...)
		command := i.cp.Kubectl(ctx, args...)
		var failure bytes.Buffer
		command.Stdout, command.Stderr = &found, &failure
		if err := command.Run(); err != nil {
			return "", fmt.Errorf("kubectl %s: %w\n%s", quoted(args), err, failure.String())
		}
	}
	return strings.TrimSpace(found.String()), nil
}

// removeStory deletes the JobRuns, their Jobs and all else of the story. The operator must still run.
func (i *installation) removeStory() error {
	if !i.story {
		return nil
	}
	return i.delete("namespace", storyNamespace)
}

// removeOperator deletes what the manifests made, which includes all JobRuns.
func (i *installation) removeOperator() error {
	if !i.operator {
		return nil
	}
	return i.delete("--filename=" + i.file)
}

func (i *installation) delete(args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), tidyTimeout)
	defer cancel()
	args = append([]string{"delete", "--ignore-not-found"}, args...)
	if output, err := i.cp.Kubectl(ctx, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("this is left in the cluster: kubectl %s: %w\n%s", quoted(args), err, output)
	}
	return nil
}
