// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

const (
	skipping = `{"concurrencyKey":"k","coalesce":"Skip","input":%d}`
	// slow is how long the API server takes in these tests.
	slow = 50 * time.Millisecond
)

// slowly admits each JobRun, the first one as a run and the others as its receipts.
func slowly(t *testing.T) *apiserver.Server {
	t.Helper()
	s := apiserver.New()
	var creates atomic.Int32
	first := ""
	s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
		run.Spec.Admission = apiserver.Created(run.Name)
		if creates.Add(1) == 1 {
			first = run.Name
		} else {
			run.Spec.Admission.Disposition, run.Spec.Admission.RunName = v1alpha1.DispositionCoalesced, first
		}
		time.Sleep(slow)
		return store()
	}
	return s
}

// sendAll sends requests, each once the one before waits for something. It returns their answers.
func (g *gate) sendAll(requests ...func() answer) []answer {
	answers := make([]answer, len(requests))
	done := make(chan struct{})
	for i, request := range requests {
		go func() {
			answers[i] = request()
			done <- struct{}{}
		}()
		synctest.Wait()
	}
	for range requests {
		<-done
	}
	return answers
}

// triggers returns n requests for the same key.
func (g *gate) triggers(n int, query string) (all []func() answer) {
	for i := range n {
		all = append(all, func() answer { return g.send("POST", syncPath+query, fmt.Sprintf(skipping, i)) })
	}
	return all
}

func TestTriggersShareOneJobRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := slowly(t)
		g := newGate(t, s)
		var names []string
		for i, got := range g.sendAll(g.triggers(4, "")...) {
			var one TriggerAnswer
			got.decode(&one)
			names = append(names, one.Trigger)
			if wantCode := map[bool]int{true: 201, false: 200}[i == 0]; got.Code != wantCode || one.Run != names[0] {
				t.Errorf("%d %s", got.Code, got.Body)
			}
		}
		if names[1] == names[0] || names[2] != names[1] || names[3] != names[1] {
			t.Fatalf("JobRuns %q", names)
		}
		shared := s.Read(names[1])
		if r := shared.Spec.Represents; s.Stored(apiserver.JobRuns) != 2 || r == nil || r.Count != 3 || len(r.Recent) != 2 || r.Recent[1].User != "ann" ||
			string(shared.Spec.Input.Raw) != "1" || string(r.Recent[1].Input.Raw) != "3" || shared.Annotations[v1alpha1.AnnotationTriggeredBy] != "ann" {
			t.Errorf("stored %+v", shared.Spec)
		}
		if single := s.Read(names[0]); single.Spec.Represents != nil {
			t.Errorf("%s stands for %d", names[0], single.Spec.Represents.Count)
		}
		families, err := g.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == "jobrun_gateway_group_size" {
				if h := family.GetMetric()[0].GetHistogram(); h.GetSampleCount() != 2 || h.GetSampleSum() != 4 {
					t.Errorf("%v", h)
				}
			}
		}
	})
}

// Dry runs and the items of batches never share a JobRun.
func TestWhatIsNeverShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := starting(v1alpha1.BatchStarted)
		admit := s.OnCreate
		s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
			time.Sleep(slow)
			if run.Spec.Represents != nil {
				t.Errorf("a JobRun stands for %d", run.Spec.Represents.Count)
			}
			if run.Spec.Batch == nil {
				run.Spec.Admission = apiserver.Created(run.Name)
				return store()
			}
			return admit(run, store)
		}
		g := newGate(t, s)
		item := `{"jobName":"sync","concurrencyKey":"k","coalesce":"Skip"}`
		requests := append(g.triggers(3, "?dryRun=All"), func() answer { return g.send("POST", batchPath, `{"items":[`+item+","+item+`]}`) })
		for _, got := range g.sendAll(requests...) {
			if got.Code != http.StatusCreated {
				t.Errorf("%d %s", got.Code, got.Body)
			}
		}
		if calls := s.Calls()["create jobruns"]; calls != 5 {
			t.Errorf("%d creates", calls)
		}
	})
}

// The lines of a stream share JobRuns, and are answered in their order.
func TestLinesShareOneJobRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := slowly(t)
		g := newGate(t, s)
		var body strings.Builder
		for i := range 100 {
			fmt.Fprintf(&body, `{"jobName":"sync","concurrencyKey":"k","coalesce":"Skip","input":%d}`+"\n", i)
		}
		got := lines(t, g.send("POST", batchPath, body.String(), "Content-Type", ndjsonType).Body)
		created := 0
		for i, line := range got {
			if line.Line != i+1 || line.Answer == nil {
				t.Fatalf("line %d: %+v", i+1, line)
			}
			if line.Code == http.StatusCreated {
				created++
			}
		}
		if len(got) != 100 || created != 1 || s.Stored(apiserver.JobRuns) != 2 || g.asked.Load() != 2 {
			t.Errorf("%d lines, %d created, %d stored, asked for %d rights", len(got), created, s.Stored(apiserver.JobRuns), g.asked.Load())
		}
	})
}

// A gateway that stops answers the triggers that wait.
func TestAGroupIsAnsweredWhileTheGatewayStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t, slowly(t))
		time.AfterFunc(slow/2, g.Drain)
		codes := map[int]int{}
		for _, got := range g.sendAll(g.triggers(4, "")...) {
			codes[got.Code]++
		}
		if codes[201] != 1 || codes[200] != 3 {
			t.Errorf("codes %v", codes)
		}
		g.send("POST", syncPath, "{}").wantStatus(503, "ServiceUnavailable")
	})
}

// The answer of a group that was lost is found under its name, for all of its callers.
func TestTheLostAnswerOfAGroup(t *testing.T) {
	for name, tc := range map[string]struct {
		found bool
		codes []int
	}{
		"found":     {true, []int{201, 201, 200, 200}},
		"not found": {false, []int{201, 504, 504, 504}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := apiserver.New()
				lost := false
				s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
					run.Spec.Admission = apiserver.Created(run.Name)
					time.Sleep(slow)
					if run.Spec.Represents != nil && (!tc.found || !lost) {
						lost = true
						if tc.found {
							_ = store()
						}
						return apiserver.Reset()
					}
					return store()
				}
				g := newGate(t, s)
				var codes []int
				names := map[string]bool{}
				for _, got := range g.sendAll(g.triggers(4, "")...) {
					codes = append(codes, got.Code)
					if got.Code == http.StatusGatewayTimeout {
						names[got.wantStatus(504, "Timeout").Details.Name] = true
					}
				}
				if !slices.Equal(codes, tc.codes) || len(names) != map[bool]int{true: 0, false: 1}[tc.found] {
					t.Errorf("codes %v, names %v", codes, names)
				}
			})
		})
	}
}

// A client that leaves while its trigger waits is not counted.
func TestAClientLeavesItsGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := slowly(t)
		g := newGate(t, s)
		leaving := func() answer {
			ctx, leave := context.WithTimeout(t.Context(), slow/2)
			defer leave()
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, syncPath, strings.NewReader(fmt.Sprintf(skipping, 7)))
			r.Header.Set("Authorization", "Bearer ann")
			w := httptest.NewRecorder()
			g.ServeHTTP(w, r)
			return answer{w, t}
		}
		requests := append(g.triggers(3, ""), leaving)
		g.sendAll(requests...)[3].wantStatus(408, "Timeout")
		var stored v1alpha1.JobRunList
		if err := s.List(t.Context(), &stored); err != nil {
			t.Fatal(err)
		}
		for _, run := range stored.Items {
			if r := run.Spec.Represents; r != nil && r.Count != 2 {
				t.Errorf("%s stands for %d", run.Name, r.Count)
			}
		}
	})
}
