// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package membership

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	// leaveTimeout bounds the wait for reconciles when the process stops. After it the Lease has expired anyway.
	leaveTimeout = Duration
	// idleCheck is the time between two looks at the reconciles that are under way when the process stops.
	idleCheck = 10 * time.Millisecond
	// lookAgain is the time after which a process that is not able to do its part looks again whether it is.
	lookAgain = 100 * time.Millisecond
	// startTime is the time that the caches may need at the start. Before it is over, the log does not say that they are late.
	startTime = 10 * time.Second
	// retryAfter is the time after which a process tries again to write its Lease.
	retryAfter = 500 * time.Millisecond
)

// Options are the options of New.
type Options struct {
	// Client writes the Lease of this process.
	Client client.Client
	// Informers watch the Leases.
	Informers cache.Informers
	// Namespace is where the Leases are.
	Namespace string
	// LeaderLease is the name of the Lease for which replicas with --leader-elect and former versions elect a leader.
	LeaderLease string
	// Elected is closed when this process is the leader. It is set with --leader-elect: then homes are not shared out, the
	// leader owns all of them.
	Elected <-chan struct{}
	Clock   clock.WithTicker
	// Follows returns an error while the caches of this process do not follow the cluster.
	Follows func() error
}

// Membership is the membership of this process. It is a manager.Runnable. All methods may be called at any time.
type Membership struct {
	Options

	name, identity string
	pulse          pulse
	// changed wakes judge.
	changed chan struct{}
	onGain  []func(gained func(namespace, home string) bool)

	mu     sync.RWMutex
	synced func() bool // whether roster has all Leases; nil until the watch begins
	roster roster
	share  share
	// until is when the Lease of this process expires. It counts from when the renewal was sent, so this process leaves
	// before the others take over.
	until time.Time
	// shown is the latest renewal of this process that its own watch has shown. unseen are those that it has not shown yet.
	shown  time.Time
	unseen []time.Time
	left   bool
	// lack is why the last attempt to renew failed, or nil.
	lack error
}

// New returns the membership of this process under a new name. A process that is started again is another member.
func New(o Options, identity Identity) *Membership {
	return &Membership{
		Options: o, name: identity.Lease, identity: identity.Holder, changed: make(chan struct{}, 1), share: share{self: identity.Lease},
	}
}

// Identity names one process.
type Identity struct {
	// Lease is the name of the process's Lease.
	Lease string
	// Holder is the identity of the process in that Lease, and in the leader's Lease.
	Holder string
}

// NewIdentity returns a new identity.
func NewIdentity() Identity {
	suffix := rand.String(10)
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return Identity{Lease: "jobrun-member-" + suffix, Holder: host + "_" + suffix}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every replica is a member.
func (*Membership) NeedLeaderElection() bool { return false }

// Owns reports whether this process owns a home. With --leader-elect it is true: only the leader reconciles.
func (m *Membership) Owns(namespace, home string) bool {
	if m.Elected != nil {
		return true
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.holds() && m.share.owns(Home{namespace, home})
}

// Active reports whether this process reconciles what it owns.
func (m *Membership) Active() bool { return m.Members() > 0 }

// Members returns the number of members that share the homes out, this process included. It is 0 while this process
// is not a member. With --leader-elect it is 1 on the leader and 0 on the others.
func (m *Membership) Members() int {
	if m.Elected != nil {
		select {
		case <-m.Elected:
			return 1
		default:
			return 0
		}
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !m.holds() {
		return 0
	}
	return len(m.share.members)
}

// Check returns an error while no replica reconciles, as far as this process knows: neither this one nor another one is a
// member, and no replica of a former version leads. With --leader-elect, it returns an error while there is no leader. It is a
// healthz.Checker.
func (m *Membership) Check(*http.Request) error {
	if m.Members() > 0 {
		return nil
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	now := m.Clock.Now()
	switch {
	case m.roster.leads(now), m.Elected == nil && len(m.roster.sharers(now)) > 0:
		return nil
	case m.Elected != nil:
		return errors.New("no replica reconciles, so nothing starts: there is no leader")
	case m.lack != nil:
		return fmt.Errorf("no replica reconciles, so nothing starts: this one is not a member: %w", m.lack)
	default:
		return errors.New("no replica reconciles, so nothing starts: this one is not a member yet")
	}
}

func (m *Membership) setLack(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lack = err
}

// Level returns the lowest protocol level of all replicas that this process knows of; 1 until it knows them.
func (m *Membership) Level() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !m.listed() {
		return formerLevel
	}
	return m.roster.level(m.identity, m.Clock.Now())
}

// Listed reports whether this process has seen the Leases of all replicas.
func (m *Membership) Listed() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.listed()
}

// listed is Listed. The caller must have locked mu.
func (m *Membership) listed() bool { return m.synced != nil && m.synced() }

// OnGain registers what to call after this process has gained homes. gained tells which. Register before Start. The call must
// return soon.
func (m *Membership) OnGain(call func(gained func(namespace, home string) bool)) {
	m.onGain = append(m.onGain, call)
}

// Enter records that a reconcile begins. Call end when it ends.
func (m *Membership) Enter() (end func()) {
	done := m.pulse.begin(m.Clock.Now())
	return func() { done(m.Clock.Now()) }
}

// Start keeps the membership until the context is done and the reconciles have ended.
func (m *Membership) Start(ctx context.Context) error {
	if err := m.watch(ctx); err != nil {
		return fmt.Errorf("watch the Leases of the members: %w", err)
	}
	var judging sync.WaitGroup
	judging.Go(func() { m.judge(ctx) })
	m.renewUntil(ctx)
	judging.Wait()
	return m.leave(context.WithoutCancel(ctx))
}

// holds reports whether the Lease of this process counts. The caller must have locked mu.
func (m *Membership) holds() bool { return !m.left && m.Clock.Now().Before(m.until) }

func (m *Membership) watch(ctx context.Context) error {
	informer, err := m.Informers.GetInformer(ctx, &coordinationv1.Lease{}, cache.BlockUntilSynced(false))
	if err != nil {
		return err
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { m.see(object, false) },
		UpdateFunc: func(_, object any) { m.see(object, false) },
		DeleteFunc: func(object any) {
			if missing, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
				object = missing.Obj
			}
			m.see(object, true)
		},
	})
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.synced = registration.HasSynced
	return nil
}

// see records one event of the watch.
func (m *Membership) see(object any, gone bool) {
	lease, ok := object.(*coordinationv1.Lease)
	if !ok || lease.Namespace != m.Namespace {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.Clock.Now()
	switch _, member := lease.Labels[v1alpha1.LabelMember]; {
	case lease.Name == m.LeaderLease && gone:
		m.roster.forgetFormer()
	case lease.Name == m.LeaderLease:
		m.roster.noteFormer(lease, now)
	case !member:
		return
	case lease.Name == m.name:
		m.shown = renewalOf(lease)
		m.unseen = slices.DeleteFunc(m.unseen, func(t time.Time) bool { return gone || !stored(t).After(m.shown) })
		return
	case gone:
		m.roster.forget(lease.Name)
	default:
		m.roster.note(lease, now)
	}
	m.wake()
}

func (m *Membership) wake() {
	select {
	case m.changed <- struct{}{}:
	default: // judge will look.
	}
}

// judge updates the share when a Lease has changed or expired.
func (m *Membership) judge(ctx context.Context) {
	for {
		timer := m.Clock.NewTimer(m.update(ctx))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-m.changed:
		case <-timer.C():
		}
		timer.Stop()
	}
}

// update computes the share anew and tells of gains. It returns the time until the next Lease expires.
func (m *Membership) update(ctx context.Context) time.Duration {
	m.mu.Lock()
	now, before := m.Clock.Now(), m.share
	after := share{self: m.name}
	if m.holds() && m.Elected == nil {
		after.members = append(m.roster.sharers(now), m.name)
		slices.Sort(after.members)
	}
	m.share = after
	next, due := m.roster.nextExpiry(now)
	if m.holds() && (!due || m.until.Before(next)) {
		next, due = m.until, true
	}
	m.mu.Unlock()

	if !slices.Equal(before.members, after.members) {
		log.FromContext(ctx).Info("The members changed", "members", after.members, "self", m.name, "holder", m.identity)
	}
	if after.gainsFrom(before) {
		m.tellGain(before, after)
	}
	if !due {
		return Duration
	}
	return next.Sub(now)
}

func (m *Membership) tellGain(before, after share) {
	for _, call := range m.onGain {
		call(func(namespace, home string) bool {
			h := Home{namespace, home}
			return after.owns(h) && !before.owns(h)
		})
	}
}

// renewUntil renews the Lease until the context is done.
func (m *Membership) renewUntil(ctx context.Context) {
	var reported error
	started := m.Clock.Now()
	for ctx.Err() == nil {
		begun := m.Clock.Now()
		wait, err := m.attempt(ctx)
		m.setLack(err)
		if err == nil || ctx.Err() != nil {
			reported = nil
		} else if begun.Sub(started) >= startTime && (reported == nil || reported.Error() != err.Error()) {
			reported = err
			log.FromContext(ctx).Info("Cannot renew the membership, so other replicas may take over", "reason", err.Error())
		}
		timer := m.Clock.NewTimer(wait - m.Clock.Since(begun))
		select {
		case <-ctx.Done():
		case <-timer.C():
		}
		timer.Stop()
	}
}

// attempt renews the Lease if this process is able to do its part. It returns the time until the next attempt.
func (m *Membership) attempt(ctx context.Context) (next time.Duration, err error) {
	if err := m.able(); err != nil {
		return lookAgain, err
	}
	if err := m.renew(ctx); err != nil {
		return retryAfter, err
	}
	return RenewEvery, nil
}

// renew renews the Lease, and deletes what is left of dead members.
func (m *Membership) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	sent := m.Clock.Now()
	if err := m.write(ctx, newLease(m.Namespace, m.name, m.identity, m.kind(), sent)); err != nil {
		return err
	}
	m.renewed(sent)
	m.bury(ctx)
	return nil
}

func (m *Membership) kind() string {
	if m.Elected != nil {
		return electing
	}
	return sharing
}

// able returns an error while this process cannot do its part: its caches do not follow, or its queue does not move.
func (m *Membership) able() error {
	if err := m.Follows(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.Clock.Now()
	if len(m.unseen) > 0 && now.Sub(m.unseen[0]) >= Duration+remains {
		m.unseen = nil // Another member has deleted the Lease. The watch may never show these renewals: try again.
	}
	if !m.listed() {
		return errors.New("the Leases are not listed yet")
	}
	if len(m.unseen) > 0 && now.Sub(m.unseen[0]) >= Duration {
		return fmt.Errorf("the watch of Leases is late by more than %s", Duration)
	}
	return m.pulse.check(now)
}

// write stores the Lease. Another member may have deleted it while this process was paused.
func (m *Membership) write(ctx context.Context, lease *coordinationv1.Lease) error {
	body, err := json.Marshal(lease)
	if err != nil {
		return err
	}
	err = m.Client.Patch(ctx, lease.DeepCopy(), client.RawPatch(types.MergePatchType, body))
	if apierrors.IsNotFound(err) {
		err = m.Client.Create(ctx, lease)
	}
	return err
}

// renewed records a renewal. After a time without a valid Lease this process begins anew, because it dropped what it did not
// own then.
func (m *Membership) renewed(sent time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.holds() {
		m.share = share{self: m.name}
	}
	m.until = sent.Add(Duration)
	if stored(sent).After(m.shown) {
		m.unseen = append(m.unseen, sent)
	}
	m.wake()
}

// stored returns a time as a Lease stores it.
func stored(t time.Time) time.Time { return t.Truncate(time.Microsecond) }

// bury deletes the Leases of members that died long ago. All members try it, and the first one does it.
func (m *Membership) bury(ctx context.Context) {
	m.mu.RLock()
	remaining := m.roster.remaining(m.Clock.Now())
	m.mu.RUnlock()
	for _, lease := range remaining {
		err := m.Client.Delete(ctx, lease, client.Preconditions{UID: &lease.UID, ResourceVersion: &lease.ResourceVersion})
		log.FromContext(ctx).V(1).Info("Deleted the Lease of a dead member", "lease", lease.Name, "error", err)
	}
}

// leave waits for the reconciles that are under way, and gives the Lease up. The others take over at once.
func (m *Membership) leave(ctx context.Context) error {
	m.mu.Lock()
	m.left = true
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	for !m.pulse.idle() && ctx.Err() == nil {
		timer := m.Clock.NewTimer(idleCheck)
		select {
		case <-ctx.Done():
		case <-timer.C():
		}
		timer.Stop()
	}
	err := m.Client.Delete(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: m.Namespace, Name: m.name}})
	if client.IgnoreNotFound(err) != nil {
		log.FromContext(ctx).Info("Cannot give the membership up: it expires", "reason", err.Error())
	}
	return nil
}
