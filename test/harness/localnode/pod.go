// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podRun is the life of one Pod on this node.
type podRun struct {
	pod      *corev1.Pod // Its status is not used.
	dir      string
	launcher *launcher
	api      *apiServer // nil if no container needs it
	backOff  func(restart int32) time.Duration
	report   func(*corev1.Pod) // called in the order of the changes

	// terminating is closed when the containers must end, killing when their grace period is over, and done when no
	// process is left.
	terminating, killing, done chan struct{}
	terminate, kill            func()

	mu           sync.Mutex
	status       corev1.PodStatus
	inits, mains []*container
	failure      *failure
	ended        bool
}

// container is the state of one container of a podRun.
type container struct {
	spec          *corev1.Container
	restartPolicy corev1.RestartPolicy
	init          bool

	// Guarded by the mutex of the podRun.
	status        corev1.ContainerStatus
	log, previous *logFile
}

func newPodRun(pod *corev1.Pod, dir string, l *launcher, report func(*corev1.Pod)) *podRun {
	r := &podRun{
		pod:         pod,
		dir:         dir,
		launcher:    l,
		backOff:     backOff,
		report:      report,
		terminating: make(chan struct{}),
		killing:     make(chan struct{}),
		done:        make(chan struct{}),
	}
	r.terminate = sync.OnceFunc(func() { close(r.terminating) })
	r.kill = sync.OnceFunc(func() { close(r.killing) })

	now := metav1.Now()
	r.status = corev1.PodStatus{
		StartTime: &now,
		HostIP:    address,
		HostIPs:   []corev1.HostIP{{IP: address}},
		PodIP:     address,
		PodIPs:    []corev1.PodIP{{IP: address}},
	}
	policy, reason := pod.Spec.RestartPolicy, "ContainerCreating"
	if len(pod.Spec.InitContainers) > 0 {
		reason = "PodInitializing"
	}
	r.mains = newContainers(pod.Spec.Containers, policy, reason)
	if policy == corev1.RestartPolicyAlways {
		policy = corev1.RestartPolicyOnFailure
	}
	r.inits = newContainers(pod.Spec.InitContainers, policy, reason)
	for _, c := range r.inits {
		c.init = true
	}
	return r
}

func newContainers(specs []corev1.Container, policy corev1.RestartPolicy, reason string) []*container {
	var containers []*container
	for i := range specs {
		containers = append(containers, &container{
			spec:          &specs[i],
			restartPolicy: policy,
			status: corev1.ContainerStatus{
				Name:    specs[i].Name,
				Image:   specs[i].Image,
				Started: new(false),
				State:   corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}},
			},
		})
	}
	return containers
}

// run runs the init containers one after the other, then the containers together. It returns when all have ended for
// good.
func (r *podRun) run() {
	defer close(r.done)
	r.update(func() {})
	if seconds := r.pod.Spec.ActiveDeadlineSeconds; seconds != nil {
		deadline := time.AfterFunc(time.Duration(*seconds)*time.Second, r.exceedDeadline)
		defer deadline.Stop()
	}
	if r.runInits() {
		var running sync.WaitGroup
		for _, c := range r.mains {
			running.Go(func() { r.runContainer(c) })
		}
		running.Wait()
	}
	r.update(func() { r.ended = true })
}

func (r *podRun) runInits() bool {
	for _, c := range r.inits {
		if !r.runContainer(c) {
			return false
		}
	}
	return true
}

// fail ends a Pod that has no processes here. It may have had some before.
func (r *podRun) fail(why failure) {
	defer close(r.done)
	r.update(func() {
		recall(r.inits, r.pod.Status.InitContainerStatuses)
		recall(r.mains, r.pod.Status.ContainerStatuses)
		r.failure = &why
		r.ended = true
	})
}

// recall restores the statuses of containers. Containers that ran have lost their processes.
func recall(containers []*container, known []corev1.ContainerStatus) {
	for _, c := range containers {
		for _, status := range known {
			if status.Name == c.spec.Name {
				c.status = *withoutProcess(status)
			}
		}
	}
}

func (r *podRun) exceedDeadline() {
	r.mu.Lock()
	r.failure = &failure{"DeadlineExceeded", "Pod was active on the node longer than the specified deadline"}
	r.mu.Unlock()
	r.stop(gracePeriod(r.pod))
}

// gracePeriod returns how long a Pod's processes may take to end.
func gracePeriod(pod *corev1.Pod) time.Duration {
	for _, seconds := range []*int64{pod.DeletionGracePeriodSeconds, pod.Spec.TerminationGracePeriodSeconds} {
		if seconds != nil {
			return time.Duration(*seconds) * time.Second
		}
	}
	return corev1.DefaultTerminationGracePeriodSeconds * time.Second
}

// stop ends all containers within the grace period, and does not wait until they have ended. The shortest of several grace
// periods counts.
func (r *podRun) stop(grace time.Duration) {
	r.terminate()
	if grace <= 0 {
		r.kill()
		return
	}
	time.AfterFunc(grace, r.kill)
}

// hasEnded reports whether the Pod's last status is known: no process is left, and none will start.
func (r *podRun) hasEnded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// snapshot returns the Pod with its current status.
func (r *podRun) snapshot() *corev1.Pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current()
}

func (r *podRun) current() *corev1.Pod {
	pod := r.pod.DeepCopy()
	r.status.DeepCopyInto(&pod.Status)
	return pod
}

// update changes the states of the containers, and reports the status that follows.
func (r *podRun) update(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	s := &r.status
	s.InitContainerStatuses = statuses(r.inits)
	s.ContainerStatuses = statuses(r.mains)
	s.Phase = phase(r.pod.Spec.RestartPolicy, s.InitContainerStatuses, s.ContainerStatuses, r.ended)
	if r.ended && r.failure != nil {
		s.Phase, s.Reason, s.Message = corev1.PodFailed, r.failure.reason, r.failure.message
	}
	s.Conditions = conditions(s.Conditions, s.Phase, s.InitContainerStatuses, s.ContainerStatuses, time.Now())
	r.report(r.current())
}

func statuses(containers []*container) []corev1.ContainerStatus {
	var all []corev1.ContainerStatus
	for _, c := range containers {
		all = append(all, *c.status.DeepCopy())
	}
	return all
}

// runContainer runs one container, and restarts it as its restart policy says. It reports whether the last run succeeded.
func (r *podRun) runContainer(c *container) bool {
	if !canPull(c.spec.Image) {
		r.failToPull(c)
		return false
	}
	for restart := int32(0); ; restart++ {
		if !r.awaitBackOff(c, restart) {
			return false
		}
		end := r.runOnce(c, restart)
		succeeded := end.ExitCode == 0
		r.update(func() {
			c.become(corev1.ContainerState{Terminated: end})
			c.status.RestartCount = restart
			c.status.Started = new(false)
			c.status.Ready = succeeded && c.init
		})
		if r.isTerminating() || !restarts(c.restartPolicy, end.ExitCode) {
			return succeeded
		}
	}
}

// become changes the container's state, and remembers how it last ended.
func (c *container) become(state corev1.ContainerState) {
	if c.status.State.Terminated != nil {
		c.status.LastTerminationState = c.status.State
	}
	c.status.State = state
}

// awaitBackOff waits until the container may start. It returns false if it may not.
func (r *podRun) awaitBackOff(c *container, restart int32) bool {
	delay := r.backOff(restart)
	if delay > 0 {
		r.update(func() {
			c.become(corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
				Reason:  "CrashLoopBackOff",
				Message: fmt.Sprintf("back-off %s restarting failed container %s", delay, c.spec.Name),
			}})
		})
	}
	select {
	case <-time.After(delay):
	case <-r.terminating:
	}
	return !r.isTerminating()
}

func (r *podRun) isTerminating() bool {
	select {
	case <-r.terminating:
		return true
	default:
		return false
	}
}

// runOnce runs the container's process and returns how it ended.
func (r *podRun) runOnce(c *container, restart int32) *corev1.ContainerStateTerminated {
	id := fmt.Sprintf("localnode://%s/%s/%d", r.pod.UID, c.spec.Name, restart)
	dir := filepath.Join(r.dir, c.spec.Name, strconv.Itoa(int(restart)))
	terminationLog := filepath.Join(dir, "termination-log")

	log, err := prepare(dir, terminationLog)
	if err != nil {
		return neverStarted(err, time.Now())
	}
	defer log.Close()
	command := r.command(c.spec, dir, terminationLog, log)
	if wantsAccount(r.pod, c.spec) {
		env, err := r.api.admit(r.pod, filepath.Join(dir, "serviceaccount"))
		if err != nil {
			return neverStarted(err, time.Now())
		}
		maps.Copy(command.env, env)
	}
	p, err := r.launcher.start(command)
	if err != nil {
		return neverStarted(err, time.Now())
	}
	started := time.Now()
	r.update(func() {
		c.become(corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(started)}})
		c.previous, c.log = c.log, log
		c.status.ContainerID = id
		c.status.RestartCount = restart
		c.status.Started = new(true)
		c.status.Ready = !c.init
	})
	p.supervise(r.terminating, r.killing)

	message := terminationMessage(terminationLog)
	if message == "" && p.exitCode() != 0 && c.spec.TerminationMessagePolicy == corev1.TerminationMessageFallbackToLogsOnError {
		message = log.lastPart()
	}
	end := exited(p.exitCode(), message, started, time.Now())
	end.ContainerID = id
	return end
}

// prepare creates the files of a process.
func prepare(dir, terminationLog string) (*logFile, error) {
	if err := os.MkdirAll(filepath.Join(dir, "work"), 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(terminationLog, nil, 0o600); err != nil {
		return nil, err
	}
	return createLog(filepath.Join(dir, "log"))
}

func (r *podRun) command(spec *corev1.Container, dir, terminationLog string, log *logFile) command {
	work := filepath.Join(dir, "work")
	c := command{
		line:   commandLine(spec),
		env:    environment(r.pod, spec, work, terminationLog),
		dir:    work,
		output: log,
	}
	if spec.WorkingDir != "" {
		c.dir = spec.WorkingDir
	}
	if spec.TerminationMessagePath == corev1.TerminationMessagePathDefault {
		c.terminationLog = terminationLog
	}
	return c
}

// logOf returns the log of a container's current or else last process, or nil if there was none.
func (r *podRun) logOf(name string, previous bool) *logFile {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, containers := range [][]*container{r.inits, r.mains} {
		for _, c := range containers {
			switch {
			case c.spec.Name != name:
			case previous:
				return c.previous
			default:
				return c.log
			}
		}
	}
	return nil
}
