// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	callers  = 96
	coldKeys = 200
	// deliveries is how many idempotency keys are in use at a time.
	deliveries = 12
	// twins is how many names several callers use at a time.
	twins = 4

	pauseLeast     = 100 * time.Millisecond
	pauseMost      = 600 * time.Millisecond
	requestTimeout = 20 * time.Second
)

// crowd has the callers of one namespace.
type crowd struct {
	api       client.Client
	clock     *stopwatch
	log       *requestLog
	namespace string
	seed      uint64
	callers   int
	hotKeys   int
	// collide lets callers use names that other callers use at the same time.
	collide bool
	// refused lets callers send triggers that a policy refuses after the webhook.
	refused bool
	// brief gives every JobRun a short TTL.
	brief bool
	// waits is true while the callers send nothing; nil if they never wait.
	waits *atomic.Bool
	// gateways are those that every gatewayShare-th caller speaks to instead of the API server; without any, all speak to the API
	// server. tokens are those of the callers.
	gateways []*gateway
	tokens   []string
}

// call runs all callers until the context is done, and waits for their last answers.
func (c *crowd) call(ctx context.Context) {
	var calling sync.WaitGroup
	for n := range c.callers {
		caller := c.newCaller(n)
		if len(c.gateways) > 0 && n%gatewayShare == 0 {
			calling.Go(func() { caller.run(ctx, caller.atGateway().act) })
		} else {
			calling.Go(func() { caller.run(ctx, caller.act) })
		}
	}
	calling.Wait()
}

// caller is one user. Its requests depend on the seed only, not on the answers.
type caller struct {
	*crowd
	number int
	random *rand.Rand
	count  int      // number of requests so far
	names  []string // names that it triggered
}

func (c *crowd) newCaller(n int) *caller {
	return &caller{crowd: c, number: n, random: rand.New(rand.NewPCG(c.seed, uint64(n)))}
}

// run calls act again and again, with pauses and unless the crowd waits, until the context is done.
func (c *caller) run(ctx context.Context, act func()) {
	for ctx.Err() == nil {
		if c.waits == nil || !c.waits.Load() {
			act()
		}
		select {
		case <-ctx.Done():
		case <-time.After(pauseLeast + time.Duration(c.random.Int64N(int64(pauseMost-pauseLeast)))):
		}
	}
}

// act does one thing and waits for the answer, even if the crowd must end meanwhile.
func (c *caller) act() {
	c.count++
	switch n := c.random.IntN(100); {
	case n < 8 && len(c.names) > 0:
		c.cancel(c.earlier())
	case n < 14 && len(c.names) > 0:
		c.delete(c.earlier())
	case n < 17 && len(c.names) > 0:
		name := c.earlier()
		c.delete(name)
		c.trigger(c.newRun(name), trigger)
	case n < 22:
		c.trigger(c.newRun(fmt.Sprintf("dry-%d-%d", c.number, c.count)), dryRun)
	case n < 25 && c.refused:
		run := c.newRun(c.newName())
		run.Labels = map[string]string{refuseLabel: "true"}
		c.trigger(run, triggerOdd)
	case n < 29 && c.collide:
		c.trigger(c.newRun(c.twinName()), trigger)
	default:
		c.trigger(c.newRun(c.newName()), trigger)
	}
}

func (c *caller) newName() string {
	name := fmt.Sprintf("c%d-%d", c.number, c.count)
	c.names = append(c.names, name)
	return name
}

// twinName returns a name that other callers use at the same time.
func (c *caller) twinName() string {
	return fmt.Sprintf("twin-%d-%d", c.random.IntN(twins), c.count/4)
}

// earlier returns one of the last names that the caller used.
func (c *caller) earlier() string {
	const last = 5
	from := max(0, len(c.names)-last)
	return c.names[from+c.random.IntN(len(c.names)-from)]
}

func (c *caller) cancel(name string) {
	run := &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name}}
	c.ask(request{Verb: cancelRun, Name: name}, func(ctx context.Context) (*v1alpha1.JobRun, error) {
		return run, c.api.Patch(ctx, run, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"cancel":true}}`)))
	})
}

func (c *caller) delete(name string) request {
	run := &v1alpha1.JobRun{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name}}
	return c.ask(request{Verb: deleteRun, Name: name}, func(ctx context.Context) (*v1alpha1.JobRun, error) {
		return run, c.api.Delete(ctx, run, client.PropagationPolicy(metav1.DeletePropagationBackground))
	})
}

func (c *caller) trigger(run *v1alpha1.JobRun, v verb) request {
	var options []client.CreateOption
	if v == dryRun {
		options = append(options, client.DryRunAll)
	}
	asked := request{
		ID: string(uuid.NewUUID()), Verb: v, Name: run.Name, JobName: run.Spec.JobName,
		ConcurrencyKey: run.Spec.ConcurrencyKey, IdempotencyKey: run.Spec.IdempotencyKey, Skip: run.Spec.Coalesce == v1alpha1.CoalesceSkip,
	}
	run.Annotations = map[string]string{v1alpha1.AnnotationTrigger: asked.ID}
	return c.ask(asked, func(ctx context.Context) (*v1alpha1.JobRun, error) { return run, c.api.Create(ctx, run, options...) })
}

// ask sends a request, and returns and logs it with its answer.
func (c *caller) ask(asked request, send func(context.Context) (*v1alpha1.JobRun, error)) request {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	asked.Namespace, asked.Sent = c.namespace, c.clock.now()
	asked.answer(send(ctx))
	asked.Answered = c.clock.now()
	c.log.add(asked)
	return asked
}
