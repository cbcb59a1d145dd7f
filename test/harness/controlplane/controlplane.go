// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package controlplane runs a Kubernetes control plane on this machine's loopback, for the demo and the tests: etcd or
// kine, kube-apiserver, kube-controller-manager and kube-scheduler, with their own ports and state. The store and the API
// server can be killed and started again. The package also starts nodes and other processes, balances connections to
// several webhook servers, cuts a network, and counts writes to etcd.
//
// It is not secured against other users of this machine: the store serves loopback without authentication.
package controlplane

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/keyutil"
)

const (
	startTimeout = 2 * time.Minute // for one component, on a busy machine
	stopGrace    = 10 * time.Second
)

// Options are the options of Start. The zero value runs everything except the audit log.
type Options struct {
	// Assets is the directory of the binaries. The default is KUBEBUILDER_ASSETS or, if that is not set, bin/k8s of the
	// checkout that contains the working directory.
	Assets string
	// Store is what the API server keeps its objects in. The default is etcd.
	Store Store
	// Dir is the directory of all state. It must be empty or missing. The default is a temporary directory that Stop
	// removes.
	Dir string
	// Keep makes Stop keep the temporary directory.
	Keep bool
	// AuditLog makes the API server log each request (see AuditLogFile).
	AuditLog bool

	NoScheduler         bool
	NoControllerManager bool

	// ExtraArgs are additional arguments by component name, for example "kube-apiserver".
	ExtraArgs map[string][]string
	// Log receives what has become ready, and how long that took.
	Log io.Writer
}

// ControlPlane is a control plane that runs until Stop.
type ControlPlane struct {
	options   Options
	assets    string
	kine      string // the path of kine's binary, if kine is the store
	dir       string
	removeDir bool

	ca               *authority
	httpClient       *http.Client
	storeAddress     string
	apiServerAddress string
	adminKubeconfig  string
	adminConfig      *rest.Config
	client           kubernetes.Interface
	attached         *api.Cluster // nil if Start started the cluster

	store, apiServer *component
	components       []*component // in the order of their start

	mu        sync.Mutex // It guards processes and writes to options.Log.
	processes []*Process // started by Run
}

// component is one of the control plane's own processes. Each start uses the same arguments.
type component struct {
	name    string
	path    string // of the binary. The default is the binary of that name in the assets
	dir     string // the working directory. The default is that of this process
	args    []string
	probe   func(context.Context) error
	process *Process
}

// Start starts a control plane and waits until it is ready. ctx bounds only the start. If it fails, the logs that the
// error names are kept.
func Start(ctx context.Context, options Options) (*ControlPlane, error) {
	assets, err := findAssets(options)
	if err != nil {
		return nil, err
	}
	kine, err := findKine(options.Store)
	if err != nil {
		return nil, err
	}
	if options.Log == nil {
		options.Log = io.Discard
	}
	cp := &ControlPlane{options: options, assets: assets, kine: kine}
	if err := cp.prepare(); err != nil {
		return nil, fmt.Errorf("prepare the control plane: %w", err)
	}
	if err := cp.startAll(ctx); err != nil {
		return nil, errors.Join(err, cp.killAll())
	}
	return cp, nil
}

// Dir returns the directory of the state. Its directory logs has the logs of all processes.
func (cp *ControlPlane) Dir() string { return cp.dir }

// LogFile returns the path of the log of a component or process.
func (cp *ControlPlane) LogFile(name string) string {
	return filepath.Join(cp.dir, "logs", name+".log")
}

// Run starts another process, for example a manager. Stop ends it. Its log is LogFile(spec.Name), unless the spec names
// one.
func (cp *ControlPlane) Run(spec ProcessSpec) (*Process, error) {
	if spec.Name == "" {
		spec.Name = filepath.Base(spec.Path)
	}
	if spec.LogFile == "" {
		spec.LogFile = cp.LogFile(spec.Name)
	}
	process, err := StartProcess(spec)
	if err != nil {
		return nil, err
	}
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.processes = append(cp.processes, process)
	return process, nil
}

// Stop ends all processes and removes the temporary directory. It stops the processes of Run first, and gracefully.
func (cp *ControlPlane) Stop() error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	var errs []error
	for _, process := range slices.Backward(cp.processes) {
		errs = append(errs, process.Stop(stopGrace))
	}
	errs = append(errs, cp.killAll())
	if cp.removeDir && !cp.options.Keep {
		errs = append(errs, os.RemoveAll(cp.dir))
	}
	return errors.Join(errs...)
}

// killAll kills the components. They need no graceful stop, because their state is in the store, which survives a kill.
func (cp *ControlPlane) killAll() error {
	var errs []error
	for _, c := range slices.Backward(cp.components) {
		if c.process != nil {
			errs = append(errs, c.process.Kill9())
		}
	}
	return errors.Join(errs...)
}

func (cp *ControlPlane) prepare() error {
	if err := cp.prepareDir(); err != nil {
		return err
	}
	addresses := make([]string, 4)
	for i := range addresses {
		var err error
		if addresses[i], err = FreeAddress(); err != nil {
			return err
		}
	}
	cp.storeAddress, cp.apiServerAddress = addresses[0], addresses[2]
	if err := cp.preparePKI(); err != nil {
		return err
	}
	if err := cp.prepareAdmin(); err != nil {
		return err
	}
	return cp.prepareComponents(addresses[1], addresses[3])
}

func (cp *ControlPlane) prepareDir() (err error) {
	if cp.options.Dir == "" {
		cp.removeDir = true
		cp.dir, err = os.MkdirTemp("", "jobrun-controlplane-")
		return err
	}
	if cp.dir, err = filepath.Abs(cp.options.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(cp.dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(cp.dir)
	if len(entries) > 0 {
		return fmt.Errorf("the directory for the state must be empty: %s has %s", cp.dir, entries[0].Name())
	}
	return err
}

func (cp *ControlPlane) preparePKI() (err error) {
	if cp.ca, err = newAuthority("jobrun-controlplane"); err != nil {
		return err
	}
	servingCert, servingKey, err := cp.ca.servingCert("127.0.0.1", "localhost")
	if err != nil {
		return err
	}
	serviceAccountKey, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AddCert(cp.ca.cert)
	cp.httpClient = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	return writeFiles(cp.pki(""), map[string][]byte{
		"ca.crt":              cp.ca.pem,
		"serving.crt":         servingCert,
		"serving.key":         servingKey,
		"service-account.key": serviceAccountKey,
		"audit-policy.yaml":   []byte(auditPolicy),
	})
}

func (cp *ControlPlane) pki(file string) string { return filepath.Join(cp.dir, "pki", file) }

func (cp *ControlPlane) prepareAdmin() (err error) {
	if cp.adminKubeconfig, err = cp.KubeconfigFor("admin", "system:masters"); err != nil {
		return err
	}
	return cp.prepareClient()
}

func (cp *ControlPlane) prepareClient() (err error) {
	if cp.adminConfig, err = clientcmd.BuildConfigFromFlags("", cp.adminKubeconfig); err != nil {
		return err
	}
	cp.adminConfig.QPS = -1
	cp.client, err = kubernetes.NewForConfig(cp.adminConfig)
	return err
}

// prepareComponents gets two more addresses: etcd's for its peers, which is kine's for its metrics, and the scheduler's.
func (cp *ControlPlane) prepareComponents(secondStoreAddress, schedulerAddress string) error {
	if cp.kine != "" {
		cp.store = cp.newKine(cp.storeAddress, secondStoreAddress)
	} else {
		cp.store = cp.newEtcd(cp.storeAddress, secondStoreAddress)
	}
	cp.apiServer = cp.newAPIServer()
	cp.components = []*component{cp.store, cp.apiServer}
	if !cp.options.NoControllerManager {
		kubeconfig, err := cp.KubeconfigFor("system:kube-controller-manager")
		if err != nil {
			return err
		}
		cp.components = append(cp.components, cp.newControllerManager(kubeconfig))
	}
	if !cp.options.NoScheduler {
		kubeconfig, err := cp.KubeconfigFor("system:kube-scheduler")
		if err != nil {
			return err
		}
		cp.components = append(cp.components, cp.newScheduler(kubeconfig, schedulerAddress))
	}
	return nil
}

// startAll starts the store, then the API server, then the components that need both.
func (cp *ControlPlane) startAll(ctx context.Context) error {
	if err := cp.start(ctx, cp.store); err != nil {
		return err
	}
	if err := cp.start(ctx, cp.apiServer); err != nil {
		return err
	}
	var group errgroup.Group
	for _, c := range cp.components[2:] {
		group.Go(func() error { return cp.start(ctx, c) })
	}
	return group.Wait()
}

func (cp *ControlPlane) start(ctx context.Context, c *component) error {
	if c.process != nil && !c.process.Exited() {
		return fmt.Errorf("%s is running already, as process %d", c.name, c.process.PID())
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	begin := time.Now()
	process, err := StartProcess(ProcessSpec{
		Name:    c.name,
		Path:    cmp.Or(c.path, filepath.Join(cp.assets, c.name)),
		Dir:     c.dir,
		Args:    slices.Concat(c.args, cp.options.ExtraArgs[c.name]),
		LogFile: cp.LogFile(c.name),
	})
	if err != nil {
		return err
	}
	c.process = process
	if err := process.WaitReady(ctx, c.probe); err != nil {
		return err
	}
	cp.mu.Lock()
	defer cp.mu.Unlock()
	_, err = fmt.Fprintf(cp.options.Log, "%s is ready after %.1fs\n", c.name, time.Since(begin).Seconds())
	return err
}
