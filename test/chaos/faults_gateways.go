// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"errors"
)

// drawnGateway returns the gateway that an injection has drawn.
func (w *world) drawnGateway(i Injection) *gateway { return w.cluster.gateways[i.Draw%gateways] }

// slowedDown lets do act on a gateway while its callers wait for triggers and the answers of the API server come late, so that
// commits are under way.
func (w *world) slowedDown(ctx context.Context, i Injection, do func(*gateway) error) (err error) {
	patient, cancel := patience(ctx)
	defer cancel()
	g := w.drawnGateway(i)
	cure, err := g.api.poison(latency(answers, 300, 200))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cure()) }()
	if !g.awaitBusy(patient) {
		return errNoEffect
	}
	return do(g)
}

// killGateway kills a gateway while commits are under way.
func killGateway(ctx context.Context, w *world, i Injection) error {
	return w.slowedDown(ctx, i, (*gateway).kill)
}

// pauseGateway stops a gateway while commits are under way.
func pauseGateway(ctx context.Context, w *world, i Injection) error {
	return w.slowedDown(ctx, i, func(g *gateway) error { return g.stopFor(ctx, i.For) })
}

// cutGateway cuts answers of a gateway to its callers off.
func cutGateway(ctx context.Context, w *world, i Injection) error {
	return poisoned(ctx, w.drawnGateway(i).front, i, cutOff(i))
}

// cutGatewayAPI cuts answers of the API server to a gateway off.
func cutGatewayAPI(ctx context.Context, w *world, i Injection) error {
	return poisoned(ctx, w.drawnGateway(i).api, i, cutOff(i))
}
