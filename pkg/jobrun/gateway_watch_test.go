// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package jobrun_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// streams is a gateway whose streams of events are texts. After the last one, it refuses.
type streams struct {
	mu      sync.Mutex
	lists   []string
	texts   []string
	queries []string
}

func (s *streams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries = append(s.queries, r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]+"?"+r.URL.RawQuery+" "+r.Header.Get("Last-Event-ID"))
	from := &s.texts
	if strings.HasSuffix(r.URL.Path, "/runs") {
		from = &s.lists
	}
	if len(*from) == 0 {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"kind":"Status","code":403,"reason":"Forbidden"}`)
		return
	}
	_, _ = io.WriteString(w, (*from)[0])
	*from = (*from)[1:]
}

// listOf returns a list of JobRuns as of a version.
func listOf(version string, runs ...string) string {
	return fmt.Sprintf(`{"metadata":{"resourceVersion":%q},"items":[%s]}`, version, strings.Join(runs, ","))
}

// runIn returns the JSON of a run in a phase.
func runIn(name string, phase v1alpha1.Phase) string {
	run := v1alpha1.JobRun{}
	run.Name, run.UID, run.ResourceVersion = name, types.UID("uid-"+name), "1"
	run.Spec.JobName, run.Spec.ConcurrencyKey = "sync", "k"
	run.Status.Phase = phase
	text, err := json.Marshal(run)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// told returns one event of a stream. Without an id the client may get it again.
func told(kind jobrun.EventType, run, more, id string) string {
	text := fmt.Sprintf("event: %s\ndata: {\"type\":%q,\"count\":1,\"run\":%s%s}\n", kind, kind, run, more)
	if id != "" {
		text += "id: " + id + "\n"
	}
	return text + "\n"
}

// short writes events as their types and runs, with what else they have.
func short(e jobrun.Event) string {
	text := strings.TrimPrefix(string(e.Type), "run:") + "(" + e.Run.Name
	if e.Skipped != nil {
		text += " " + e.Skipped.Name + " " + e.Skipped.Input
	}
	if e.Generation > 0 {
		text += fmt.Sprintf(" %d", e.Generation)
	}
	if e.Count > 1 {
		text += fmt.Sprintf(" x%d", e.Count)
	}
	if e.Skipped != nil && e.Skipped.Represents != 0 {
		text += fmt.Sprintf(" for %d", e.Skipped.Represents)
	}
	return text + ")"
}

// watched returns the events of a Watch until its error.
func watched(t *testing.T, s *streams, selector jobrun.Selector, opts ...jobrun.WatchOption) ([]string, error) {
	t.Helper()
	events, err := overHTTP(t, s.ServeHTTP).Watch(t.Context(), selector, opts...)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for e, err := range events {
		if err != nil {
			return got, err
		}
		if got = append(got, short(e)); e.Type == jobrun.EventDelete && e.Run.Name == "last" {
			return got, nil
		}
	}
	return got, nil
}

const goodbye = "5"

// last ends a test's Watch.
func last() string {
	run := runIn("last", v1alpha1.PhaseCompleted)
	return told(jobrun.EventTrigger, run, "", "") + told(jobrun.EventDelete, run, "", goodbye)
}

func TestGatewayWatchGoesOn(t *testing.T) {
	receipt := func(name, input string) string {
		return fmt.Sprintf(`,"receipt":{"name":%q,"uid":"uid-%s"},"skippedInput":%s`, name, name, input)
	}
	a := runIn("a", v1alpha1.PhasePending)
	s := &streams{
		lists: []string{listOf("7", a)},
		texts: []string{
			"retry: 900\nid: 7\n\n:\n\n" +
				told(jobrun.EventCoalesced, a, receipt("r", `{"n":1}`), "8") +
				told(jobrun.EventTrigger, runIn("b", v1alpha1.PhasePending), "", "") +
				told(jobrun.EventLeased, runIn("b", v1alpha1.PhaseLeased), `,"generation":2`, "") +
				told(jobrun.EventDelete, runIn("b", v1alpha1.PhaseLeased), "", "") +
				"event: run:trigger\ndata: {\"type\":\"cut off",
			// It repeats what had no id, and goes on.
			told(jobrun.EventCoalesced, a, receipt("r", `{"n":1}`), "") +
				told(jobrun.EventTrigger, runIn("b", v1alpha1.PhasePending), "", "") +
				told(jobrun.EventLeased, runIn("b", v1alpha1.PhaseLeased), `,"generation":2`, "") +
				told(jobrun.EventDelete, runIn("b", v1alpha1.PhaseLeased), "", "9") +
				told(jobrun.EventCoalesced, a, receipt("cut", `"{\"n\":"`)+`,"skippedInputCut":true`, "10") +
				last(),
		},
	}
	got, err := watched(t, s, jobrun.Selector{JobName: "sync", Labels: labels.Set{"env": "prod"}.AsSelector()})
	want := []string{`coalesced(a r {"n":1})`, "trigger(b)", "leased(b 2)", "delete(b)", `coalesced(a cut {"n":)`, "trigger(last)", "delete(last)"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	const events = "events?jobName=sync&label=env%3Dprod "
	if want := []string{"runs?jobName=sync&limit=500 ", events + "7", events + "8"}; !slices.Equal(s.queries, want) {
		t.Errorf("requests: %q", s.queries)
	}
}

// After a reset, the list shows what was missed, and nothing twice.
func TestGatewayWatchListsAgainAfterAReset(t *testing.T) {
	a, b := runIn("a", v1alpha1.PhasePending), runIn("b", v1alpha1.PhasePending)
	s := &streams{
		lists: []string{listOf("7", a, b), listOf("9", runIn("b", v1alpha1.PhaseCompleted), runIn("c", v1alpha1.PhasePending))},
		texts: []string{
			told(jobrun.EventTrigger, runIn("c", v1alpha1.PhasePending), "", "8"),
			"event: reset\ndata: {\"message\":\"too old\"}\nid: 99\n\n" + told(jobrun.EventTrigger, runIn("missed", ""), "", "100"),
			last(),
		},
	}
	got, err := watched(t, s, jobrun.Selector{}, jobrun.WithExisting())
	want := []string{"trigger(a)", "trigger(b)", "trigger(c)", "delete(a)", "complete(b)", "trigger(last)", "delete(last)"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	if want := []string{"runs?limit=500 ", "events? 7", "events? 8", "runs?limit=500 ", "events? 9"}; !slices.Equal(s.queries, want) {
		t.Errorf("requests: %q", s.queries)
	}
}

// An event that stands for several is told for those that are new.
func TestGatewayWatchCountsOnce(t *testing.T) {
	counted := func(n int) string {
		return strings.Replace(runIn("a", v1alpha1.PhasePending), `"phase"`, fmt.Sprintf(`"attempts":%d,"coalesced":{"count":%d},"phase"`, n, n), 1)
	}
	several := func(kind jobrun.EventType, n int, id string) string {
		return strings.Replace(told(kind, counted(n), "", id), `"count":1,"run"`, fmt.Sprintf(`"count":%d,"run"`, n), 1)
	}
	s := &streams{
		lists: []string{listOf("7", runIn("a", v1alpha1.PhasePending))},
		texts: []string{
			several(jobrun.EventCoalesced, 3, "") + several(jobrun.EventLeased, 2, ""),
			several(jobrun.EventCoalesced, 3, "") + several(jobrun.EventLeased, 2, "") + several(jobrun.EventCoalesced, 5, "8") + last(),
		},
	}
	got, err := watched(t, s, jobrun.Selector{ConcurrencyKey: "k"})
	want := []string{"coalesced(a x3)", "leased(a x2)", "coalesced(a x2)", "trigger(last)", "delete(last)"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
}

// A receipt that several triggers share is told once, for all of them. Triggers without a receipt come on top.
func TestGatewayWatchOfASharedReceipt(t *testing.T) {
	coalesced := func(total, n int, more, id string) string {
		a := strings.Replace(runIn("a", v1alpha1.PhasePending), `"phase"`, fmt.Sprintf(`"coalesced":{"count":%d},"phase"`, total), 1)
		return strings.Replace(told(jobrun.EventCoalesced, a, more, id), `"count":1,"run"`, fmt.Sprintf(`"count":%d,"run"`, n), 1)
	}
	const shared, single = `,"receipt":{"name":"s","uid":"uid-s"}`, `,"receipt":{"name":"r","uid":"uid-r"}`
	s := &streams{
		lists: []string{listOf("7", runIn("a", v1alpha1.PhasePending))},
		texts: []string{
			coalesced(40, 40, shared, ""),
			// It repeats what had no id, and goes on.
			coalesced(40, 40, shared, "") + coalesced(41, 1, single, "") + coalesced(43, 5, "", "8") + last(),
		},
	}
	got, err := watched(t, s, jobrun.Selector{})
	want := []string{"coalesced(a s  x40 for 40)", "coalesced(a r )", "coalesced(a x2)", "trigger(last)", "delete(last)"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestGatewayWatchIsRefused(t *testing.T) {
	_, err := overHTTP(t, (&streams{}).ServeHTTP).Watch(t.Context(), jobrun.Selector{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("Watch: %v", err)
	}
}

func TestGatewayBatch(t *testing.T) {
	items := []jobrun.BatchItem{
		{Spec: v1alpha1.JobRunSpec{JobName: "sync"}, Options: []jobrun.TriggerOption{jobrun.WithLabels(map[string]string{"team": "a"})}},
		{Spec: v1alpha1.JobRunSpec{JobName: "report", ConcurrencyKey: "k", Coalesce: v1alpha1.CoalesceSkip}},
	}
	var sent string
	answer, code := `{"items":[{"disposition":"Created","run":"sync-1","trigger":"sync-1"},{"disposition":"Coalesced","run":"b","trigger":"gone"}]}`, 201
	runs := overHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			text, _ := io.ReadAll(r.Body)
			sent = r.URL.Path + " " + string(text)
			w.WriteHeader(code)
			_, _ = io.WriteString(w, answer)
		case strings.HasSuffix(r.URL.Path, "/sync-1"):
			_, _ = io.WriteString(w, stored)
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"kind":"Status","code":404,"reason":"NotFound","details":{"name":"gone"}}`)
		}
	})
	results, err := runs.BatchTrigger(t.Context(), items)
	if err != nil || len(results) != 2 || results[0].JobRun.UID != "u" || results[1].JobRun.Name != "gone" || results[1].Run.Name != "b" {
		t.Fatalf("%+v, %v", results, err)
	}
	const want = `/v1/namespaces/default/batches {"items":[{"jobName":"sync","labels":{"team":"a"}},{"coalesce":"Skip","concurrencyKey":"k","jobName":"report"}]}`
	if sent != want {
		t.Errorf("sent %s", sent)
	}
	refuse := func(status string, is func(error) bool) {
		t.Helper()
		answer, code = status, 409
		if _, err := runs.BatchTrigger(t.Context(), items); err == nil || !is(err) {
			t.Errorf("%s: %v", status, err)
		}
	}
	refuse(`{"kind":"Status","code":409,"reason":"Conflict","message":"item 1 of the batch, so nothing of it executes: run a is pending","details":{"causes":[`+
		`{"reason":"PendingRun","message":"a"},{"reason":"BatchItem","field":"items[1]"}]}}`, func(err error) bool {
		var item *jobrun.BatchItemError
		var conflict *jobrun.ConflictError
		return errors.As(err, &item) && item.Index == 1 && errors.As(err, &conflict) && conflict.PendingRun == "a" &&
			err.Error() == "item 1 of the batch: run a is pending"
	})
	refuse(`{"kind":"Status","code":409,"reason":"Conflict","details":{"name":"sync-1","causes":[{"reason":"BatchWithdrawn","message":"id"}]}}`, func(err error) bool {
		var withdrawn *jobrun.BatchWithdrawnError
		return errors.As(err, &withdrawn) && withdrawn.ID == "id" && withdrawn.Leader == "sync-1"
	})
	refuse(`{"kind":"Status","code":504,"reason":"Timeout","details":{"name":"sync-1"}}`, func(err error) bool {
		var unanswered *jobrun.UnansweredError
		return errors.As(err, &unanswered) && unanswered.Name == "sync-1"
	})
	answer, code = `{"items":[]}`, 201
	if _, err := runs.BatchTrigger(t.Context(), items); !errors.Is(err, jobrun.ErrUnanswered) {
		t.Errorf("an answer without items: %v", err)
	}
}

// A batch that was answered has started: no failure to read its JobRuns is an error, because a caller would trigger it again.
func TestGatewayBatchWhoseJobRunsAreNotRead(t *testing.T) {
	var items []jobrun.BatchItem
	var answers []string
	for i := range 20 {
		items = append(items, jobrun.BatchItem{Spec: v1alpha1.JobRunSpec{JobName: "sync"}})
		answers = append(answers, fmt.Sprintf(`{"disposition":"Created","run":"sync-%d","trigger":"sync-%d"}`, i, i))
	}
	runs := overHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"items":[`+strings.Join(answers, ",")+`]}`)
			return
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"kind":"Status","code":403,"reason":"Forbidden"}`)
	})
	results, err := runs.BatchTrigger(t.Context(), items)
	if err != nil || len(results) != len(items) {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for i, result := range results {
		name := fmt.Sprintf("sync-%d", i)
		if result.JobRun.Name != name || result.Run.Name != name || result.Disposition != v1alpha1.DispositionCreated || result.JobRun.Spec.JobName != "sync" {
			t.Errorf("%d: %+v", i, result)
		}
	}
}

func TestGatewayBatchRefuses(t *testing.T) {
	runs := overHTTP(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s %s", r.Method, r.URL) })
	good := jobrun.BatchItem{Spec: v1alpha1.JobRunSpec{JobName: "sync"}}
	for name, items := range map[string][]jobrun.BatchItem{"none": nil, "too many": make([]jobrun.BatchItem, 1001)} {
		if _, err := runs.BatchTrigger(t.Context(), items); !errors.Is(err, jobrun.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, bad := range map[string]jobrun.BatchItem{
		"a dry run": {Spec: good.Spec, Options: []jobrun.TriggerOption{jobrun.DryRun()}},
		"a name":    {Spec: good.Spec, Options: []jobrun.TriggerOption{jobrun.WithName("a")}},
		"no job":    {},
	} {
		var item *jobrun.BatchItemError
		if _, err := runs.BatchTrigger(t.Context(), []jobrun.BatchItem{good, bad}); !errors.As(err, &item) || item.Index != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGatewayDefinitions(t *testing.T) {
	runs := overHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path + "?" + r.URL.RawQuery {
		case "/v1/namespaces/default/definitions?limit=500":
			_, _ = io.WriteString(w, `{"metadata":{"continue":"next"},"items":[{"metadata":{"name":"b"}}]}`)
		case "/v1/namespaces/default/definitions?continue=next&limit=500":
			_, _ = io.WriteString(w, `{"metadata":{},"items":[{"metadata":{"name":"a"}}]}`)
		case "/v1/namespaces/default/definitions/a?":
			_, _ = io.WriteString(w, `{"metadata":{"name":"a"},"spec":{"description":"Copies users."}}`)
		default:
			t.Errorf("%s", r.URL)
		}
	})
	all, err := runs.Definitions(t.Context())
	if err != nil || len(all) != 2 || all[0].Name != "a" || all[1].Name != "b" {
		t.Errorf("%+v, %v", all, err)
	}
	one, err := runs.Definition(t.Context(), "a")
	if err != nil || one.Spec.Description != "Copies users." {
		t.Errorf("%+v, %v", one, err)
	}
	if _, err := runs.Definition(t.Context(), "a/b"); !errors.Is(err, jobrun.ErrInvalid) {
		t.Errorf("another route: %v", err)
	}
}
