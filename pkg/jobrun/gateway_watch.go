// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// Watch is Client.Watch, over the gateway's stream of events, which counts for the gateway's bound of streams. After a lost
// connection it goes on from the last event, at any replica of the gateway. If the gateway cannot tell what happened meanwhile,
// Watch lists the JobRuns and tells what is new.
//
// What differs: the Run of an Event has no template and no status.coalesced.recent. Only that of an EventTrigger has the input,
// and only that of an EventComplete the output. The input of Event.Skipped is cut after 4 KiB. After a lost connection, an
// EventCoalesced of a run that no longer exists may come again. A run has at most one EventProgress each 100 ms.
func (g *GatewayClient) Watch(ctx context.Context, selector Selector, opts ...WatchOption) (iter.Seq2[Event, error], error) {
	return watchRuns(ctx, &gatewayWatch{client: g, selector: selector, pace: newPace()}, selector, opts)
}

// gatewayWatch lists JobRuns, and then follows the events of all of them.
type gatewayWatch struct {
	client   *GatewayClient
	selector Selector
	// version is the resourceVersion up to which everything was told. If it is empty, the next turn lists.
	version string
	// gone are the runs whose deletion was told since version. A gateway may repeat what it told since then.
	gone map[string]bool
	pace *pace
}

func (f *gatewayWatch) list(ctx context.Context) ([]v1alpha1.JobRun, error) {
	query := f.selector.query()
	query.Del("labels") // The tracker needs the other JobRuns, too: it selects receipts and runs, each by its own labels.
	all, version, err := f.client.pages(ctx, query)
	if err != nil {
		return nil, err
	}
	f.pace.reached()
	f.passed(version)
	return all, nil
}

// follow implements follower.
func (f *gatewayWatch) follow(ctx context.Context, tell func(change) bool) error {
	return f.pace.repeat(ctx, func() (bool, error) { return f.turn(ctx, tell) })
}

// errReset ends a stream that cannot tell what happened meanwhile.
var errReset = errors.New("the gateway cannot tell what happened")

// turn lists if the version is not known, and takes events until the stream ends.
func (f *gatewayWatch) turn(ctx context.Context, tell func(change) bool) (more bool, err error) {
	if f.version == "" {
		all, err := f.list(ctx)
		if err != nil {
			return true, err
		}
		if !tell(change{listed: true, all: all}) {
			return false, nil
		}
	}
	query := url.Values{}
	if f.selector.JobName != "" {
		query.Set("jobName", f.selector.JobName)
	}
	if f.selector.Labels != nil && !f.selector.Labels.Empty() {
		query.Set("label", f.selector.Labels.String())
	}
	more, err = f.client.stream(ctx, query, f.version, func(m message) (bool, error) { return f.take(m, tell) })
	if errors.Is(err, errReset) {
		f.version = ""
		return true, nil
	}
	return more, err
}

// take tells the event of a message. The gateway repeats an event whose id did not come, and nothing before.
func (f *gatewayWatch) take(m message, tell func(change) bool) (more bool, err error) {
	f.pace.reached()
	more = true
	switch m.event {
	case "":
	case "reset":
		return true, errReset
	case "error":
		return true, statusOfEvent(m.data)
	default:
		f.pace.lively()
		event, err := decodeEvent(m.data)
		if err != nil {
			return true, fmt.Errorf("the gateway's event %s: %w", m.event, err)
		}
		if f.selects(event) {
			more = tell(change{event: &event})
		}
	}
	f.passed(m.id)
	return more, nil
}

// passed notes that everything up to a version was told. An empty one changes nothing.
func (f *gatewayWatch) passed(version string) {
	if version != "" {
		f.version, f.gone = version, map[string]bool{}
	}
}

// selects reports whether an event is to be told. The gateway has selected it by its job and its labels. A run that no longer exists
// has no key.
func (f *gatewayWatch) selects(e Event) bool {
	uid := string(e.Run.UID)
	if f.gone[uid] && e.Type != EventCoalesced {
		return false
	}
	if e.Type == EventDelete {
		f.gone[uid] = true
	}
	return f.selector.ConcurrencyKey == "" || f.selector.ConcurrencyKey == e.Run.Spec.ConcurrencyKey
}

// statusOfEvent returns the error of the last event of a stream.
func statusOfEvent(data []byte) error {
	var status metav1.Status
	if err := json.Unmarshal(data, &status); err != nil {
		return fmt.Errorf("the gateway's event error: %w", err)
	}
	return &apierrors.StatusError{ErrStatus: status}
}

// gatewayEvent is the data of an event.
type gatewayEvent struct {
	Type       EventType                 `json:"type"`
	Run        *v1alpha1.JobRun          `json:"run"`
	Generation int64                     `json:"generation"`
	Count      int64                     `json:"count"`
	Receipt    *v1alpha1.ObjectReference `json:"receipt"`

	SkippedInput    json.RawMessage   `json:"skippedInput"`
	SkippedInputCut bool              `json:"skippedInputCut"`
	SkippedLabels   map[string]string `json:"skippedLabels"`
	SkippedTime     *metav1.Time      `json:"skippedTime"`
}

func decodeEvent(data []byte) (Event, error) {
	var told gatewayEvent
	if err := json.Unmarshal(data, &told); err != nil {
		return Event{}, err
	}
	if told.Run == nil {
		return Event{}, errors.New("it has no run")
	}
	event := Event{Type: told.Type, Run: told.Run, Generation: told.Generation, Count: max(told.Count, 1)}
	if told.Receipt == nil {
		return event, nil
	}
	event.Skipped = &v1alpha1.CoalescedTrigger{
		Name: told.Receipt.Name, UID: told.Receipt.UID, Time: told.SkippedTime, Input: string(told.SkippedInput), Labels: told.SkippedLabels,
	}
	if event.Count > 1 {
		event.Skipped.Represents = int32(min(event.Count, v1alpha1.MaxRepresented))
	}
	if told.SkippedInputCut {
		if err := json.Unmarshal(told.SkippedInput, &event.Skipped.Input); err != nil {
			return Event{}, fmt.Errorf("skippedInput: %w", err)
		}
	}
	return event, nil
}
