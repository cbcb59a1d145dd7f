// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// Attach returns a ControlPlane for a cluster that runs already: that of the kubeconfig's current context, which must be its only
// one. The methods that start or kill a component, or make a client certificate, do not work. Stop ends the processes of Run, and
// leaves the cluster alone.
func Attach(kubeconfig *api.Config, options Options) (*ControlPlane, error) {
	assets, err := findKubectl(options)
	if err != nil {
		return nil, err
	}
	options.Log = io.Discard
	cp := &ControlPlane{options: options, assets: assets}
	if err := cp.attach(kubeconfig); err != nil {
		return nil, fmt.Errorf("attach to the cluster of the context %q: %w", kubeconfig.CurrentContext, err)
	}
	return cp, nil
}

func (cp *ControlPlane) attach(kubeconfig *api.Config) error {
	kubeconfig = kubeconfig.DeepCopy()
	if err := api.FlattenConfig(kubeconfig); err != nil { // The certificates go into the copy.
		return err
	}
	context := kubeconfig.Contexts[kubeconfig.CurrentContext]
	if context == nil || kubeconfig.Clusters[context.Cluster] == nil {
		return errors.New("it names no cluster")
	}
	cp.attached = kubeconfig.Clusters[context.Cluster]
	if err := cp.prepareDir(); err != nil {
		return err
	}
	cp.adminKubeconfig = filepath.Join(cp.dir, "kubeconfig", "admin")
	if err := clientcmd.WriteToFile(*kubeconfig, cp.adminKubeconfig); err != nil {
		return err
	}
	return cp.prepareClient()
}
