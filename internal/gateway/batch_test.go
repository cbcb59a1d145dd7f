// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/apiserver"
)

const batchPath = "/v1/namespaces/default/batches"

// starting admits each JobRun, and decides its batch once it is stored whole.
func starting(decision v1alpha1.BatchDecision) *apiserver.Server {
	s := apiserver.New()
	s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
		if run.Spec.Input != nil && string(run.Spec.Input.Raw) == `"full"` {
			return apierrors.NewForbidden(apiserver.JobRuns, run.Name, errors.New("exceeded quota"))
		}
		run.Spec.Admission = apiserver.Created(run.Name)
		batch := *run.Spec.Batch
		err := store()
		if s.Stored(apiserver.JobRuns) == int(batch.Size) {
			s.Change(batch.Leader, func(leader *v1alpha1.JobRun) { leader.Status.Batch = &v1alpha1.BatchStatus{Decision: decision} })
		}
		return err
	}
	return s
}

func TestBatch(t *testing.T) {
	s := starting(v1alpha1.BatchStarted)
	got := newGate(t, s).send("POST", batchPath, `{"items":[{"jobName":"a","input":1},{"jobName":"b","labels":{"team":"x"}}]}`)
	var answer BatchAnswer
	got.decode(&answer)
	if got.Code != http.StatusCreated || len(answer.Items) != 2 {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	second := s.Read(answer.Items[1].Trigger)
	if second.Spec.JobName != "b" || second.Labels["team"] != "x" || second.Annotations[v1alpha1.AnnotationTriggeredBy] != "ann" || second.Spec.Batch.Size != 2 {
		t.Errorf("stored %+v", second)
	}
}

func TestBatchRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		body   string
		code   int
		reason metav1.StatusReason
		item   string
	}{
		"no items":         {`{}`, 422, metav1.StatusReasonInvalid, ""},
		"null":             {`{"items":null}`, 422, metav1.StatusReasonInvalid, ""},
		"no list":          {`{"items":{"jobName":"a"}}`, 400, metav1.StatusReasonBadRequest, ""},
		"an item twice":    {`{"items":[{"jobName":"a","jobName":"b"}]}`, 400, metav1.StatusReasonBadRequest, ""},
		"an unknown field": {`{"items":[{"jobName":"a","inptu":1}]}`, 400, metav1.StatusReasonBadRequest, ""},
		"an invalid item":  {`{"items":[{"jobName":"a"},{"jobName":"A"}]}`, 422, metav1.StatusReasonInvalid, "items[1]"},
		"a refused item":   {`{"items":[{"jobName":"a"},{"jobName":"b","input":"full"}]}`, 403, metav1.StatusReasonForbidden, "items[1]"},
		"a job without the right": {
			`{"items":[{"jobName":"a"},{"jobName":"secret"}]}`, 403, metav1.StatusReasonForbidden, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := starting(v1alpha1.BatchStarted)
			g := newGate(t, s)
			g.denied["trigger default/jobdefinitions/secret"] = true
			status := g.send("POST", batchPath, tc.body).wantStatus(tc.code, tc.reason)
			item := ""
			for _, cause := range causesOf(status) {
				if cause.Type == v1alpha1.CauseBatchItem {
					item = cause.Field
				}
			}
			if item != tc.item {
				t.Errorf("causes name %q, want %q: %+v", item, tc.item, status)
			}
		})
	}
	g := newGate(t, starting(v1alpha1.BatchWithdrawn))
	withdrawn := g.send("POST", batchPath, `{"items":[{"jobName":"a"}]}`).wantStatus(409, metav1.StatusReasonConflict)
	if causes := causesOf(withdrawn); len(causes) != 1 || causes[0].Type != v1alpha1.CauseBatchWithdrawn || withdrawn.Details.Name == "" {
		t.Errorf("withdrawn: %+v", withdrawn)
	}
	g.send("POST", batchPath, `{"items":[{"jobName":"a"}]}`, "Idempotency-Key", "k").wantStatus(400, metav1.StatusReasonBadRequest)
	g.send("POST", batchPath, `a`, "Content-Type", "text/csv").wantStatus(415, metav1.StatusReasonUnsupportedMediaType)
}

// A batch is refused for its size and for what it lacks before it takes memory, and before any right is asked about its jobs.
func TestBatchIsRefusedEarly(t *testing.T) {
	many := make([]string, maxBatchItems+1)
	for i := range many {
		many[i] = fmt.Sprintf(`{"jobName":"job-%d"}`, i)
	}
	for name, tc := range map[string]struct{ body, want string }{
		"many jobs":        {`{"items":[` + strings.Join(many, ",") + `]}`, "items"},
		"many empty items": {`{"items":[` + strings.Repeat("{},", 1<<20) + `{}]}`, "items"},
		"no job":           {`{"items":[{"jobName":"a"},{"input":1}]}`, "items[1].jobName"},
	} {
		t.Run(name, func(t *testing.T) {
			s := starting(v1alpha1.BatchStarted)
			g := newGate(t, s)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			status := g.send("POST", batchPath, tc.body).wantStatus(422, metav1.StatusReasonInvalid)
			runtime.ReadMemStats(&after)
			if causes := causesOf(status); len(causes) != 1 || causes[0].Field != tc.want {
				t.Errorf("causes: %+v", causes)
			}
			if n := g.asked.Load(); n != 1 {
				t.Errorf("asked %d times for a right, want only for that of the route", n)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
				t.Errorf("it took %d MiB", took>>20)
			}
			if n := s.Stored(apiserver.JobRuns); n > 0 {
				t.Errorf("%d are stored", n)
			}
		})
	}
}

// lines decodes the answers of a stream.
func lines(t *testing.T, body io.Reader) (all []LineAnswer) {
	t.Helper()
	for scanner := bufio.NewScanner(body); scanner.Scan(); {
		var line LineAnswer
		if err := json.Unmarshal(scanner.Bytes(), &line); err != nil {
			t.Fatalf("%v in %s", err, scanner.Text())
		}
		all = append(all, line)
	}
	return all
}

func TestStreamOfTriggers(t *testing.T) {
	s := admitting(apiserver.Created)
	g := newGate(t, s)
	g.denied["trigger default/jobdefinitions/secret"] = true
	g.denied["trigger default/jobdefinitions/A"] = true // a job that cannot be is not asked about
	body := strings.Join([]string{
		`{"jobName":"a","input":1}`, ``, `{"jobName":"a",`, `{"jobName":"secret"}`, `{"jobName":"A"}`,
		`{"jobName":"a","input":"` + strings.Repeat("x", maxTriggerBytes) + `"}`, `{"jobName":"a","inptu":1}`, `{"jobName":"b","labels":{"team":"x"}}`,
	}, "\n")
	got := g.send("POST", batchPath, body, "Content-Type", "application/x-ndjson")
	if got.Code != http.StatusOK || got.Header().Get("Content-Type") != ndjsonType {
		t.Fatalf("%d %v", got.Code, got.Header())
	}
	var codes []string
	answers := lines(t, got.Body)
	for _, answer := range answers {
		codes = append(codes, fmt.Sprintf("%d:%d", answer.Line, answer.Code))
		if (answer.Answer == nil) == (answer.Status == nil) {
			t.Errorf("line %d has both or none", answer.Line)
		}
	}
	if want := "1:201 3:400 4:403 5:422 6:413 7:400 8:201"; strings.Join(codes, " ") != want {
		t.Fatalf("got %v, want %s", codes, want)
	}
	if last := s.Read(answers[6].Answer.Trigger); last.Spec.JobName != "b" || last.Labels["team"] != "x" || last.Annotations[v1alpha1.AnnotationTriggeredBy] != "ann" {
		t.Errorf("stored %+v", last)
	}
}

// A panic ends its line with a 500, and neither the stream nor the process.
func TestAPanicOfALine(t *testing.T) {
	s := apiserver.New()
	s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
		if run.Spec.JobName == "bad" {
			panic("a secret")
		}
		run.Spec.Admission = apiserver.Created(run.Name)
		return store()
	}
	got := newGate(t, s).send("POST", batchPath, "{\"jobName\":\"bad\"}\n{\"jobName\":\"good\"}\n", "Content-Type", ndjsonType)
	answers := lines(t, got.Body)
	if len(answers) != 2 || answers[0].Code != 500 || strings.Contains(answers[0].Status.Message, "secret") || answers[1].Code != 201 {
		t.Errorf("%s", got.Body)
	}
}

// So does a panic before the trigger of a line begins.
func TestAPanicAtTheBeginningOfALine(t *testing.T) {
	g := newGate(t, admitting(apiserver.Created))
	calm, panics := g.Authorizer, true
	g.Authorizer = authorizer.AuthorizerFunc(func(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		if a.GetName() == "first" && panics {
			panics = false
			panic("a secret")
		}
		return calm.Authorize(ctx, a)
	})
	got := g.send("POST", batchPath, "{\"jobName\":\"first\"}\n{\"jobName\":\"second\"}\n", "Content-Type", ndjsonType)
	answers := lines(t, got.Body)
	if len(answers) != 2 || answers[0].Code != 500 || strings.Contains(answers[0].Status.Message, "secret") || answers[1].Code != 201 {
		t.Errorf("%s", got.Body)
	}
	if g.bodies.all != 0 {
		t.Errorf("%d bytes are still held", g.bodies.all)
	}
}

// A client reads the answer to a line before it sends the next one, over HTTP/1 and HTTP/2.
func TestStreamAnswersLineByLine(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http2=%t", http2), func(t *testing.T) {
			g := newGate(t, admitting(apiserver.Created))
			server := httptest.NewUnstartedServer(g)
			server.EnableHTTP2 = http2
			server.StartTLS()
			defer server.Close()
			body, send := io.Pipe()
			request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+batchPath, body)
			request.Header.Set("Authorization", "Bearer ann")
			request.Header.Set("Content-Type", ndjsonType)
			answer, err := server.Client().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			answers := bufio.NewScanner(answer.Body)
			for i := 1; i <= 3; i++ {
				fmt.Fprintln(send, `{"jobName":"a"}`)
				if !answers.Scan() || !strings.HasPrefix(answers.Text(), fmt.Sprintf(`{"line":%d,"code":201,`, i)) {
					t.Fatalf("line %d: %s, %v", i, answers.Text(), answers.Err())
				}
			}
			g.Drain()
			if !answers.Scan() || !strings.HasPrefix(answers.Text(), `{"line":4,"code":503,`) || answers.Scan() {
				t.Errorf("at the end: %s, %v", answers.Text(), answers.Err())
			}
			send.Close()
		})
	}
}

// Answers come in the order of the lines, whichever is ready first.
func TestStreamKeepsTheOrder(t *testing.T) {
	s := apiserver.New()
	second := make(chan struct{})
	s.OnCreate = func(run *v1alpha1.JobRun, store func() error) error {
		run.Spec.Admission = apiserver.Created(run.Name)
		if run.Spec.JobName == "first" {
			<-second
		} else {
			close(second)
		}
		return store()
	}
	got := newGate(t, s).send("POST", batchPath, "{\"jobName\":\"first\"}\n{\"jobName\":\"second\"}\n", "Content-Type", ndjsonType)
	answers := lines(t, got.Body)
	if len(answers) != 2 || !strings.HasPrefix(answers[0].Answer.Trigger, "first-") || answers[1].Line != 2 {
		t.Errorf("%+v", answers)
	}
}

func TestReadLine(t *testing.T) {
	long, errLong := strings.Repeat("x", 100), errors.New("too long")
	lines := bufio.NewReaderSize(strings.NewReader("a\n"+long+"\nb\n"+long), 16)
	var got []string
	for {
		size := 0
		line, err := readLine(lines, func(n int) error {
			if size += n; size > 50 {
				return errLong
			}
			return nil
		})
		got = append(got, fmt.Sprintf("%s %v", strings.TrimSpace(string(line)), err))
		if errors.Is(err, io.EOF) {
			break
		}
	}
	if want := "a <nil>| too long|b <nil>| too long| EOF"; strings.Join(got, "|") != want {
		t.Errorf("%q", got)
	}
}

func causesOf(status metav1.Status) []metav1.StatusCause {
	if status.Details == nil {
		return nil
	}
	return status.Details.Causes
}

// A line that repeats the one before it is a trigger of its own.
func TestLinesThatRepeat(t *testing.T) {
	s := admitting(apiserver.Created)
	const one, bad, two = `{"jobName":"a","input":1,"labels":{"team":"x"}}`, `{"jobName":"a","inptu":1}`, `{"jobName":"b","input":2}`
	all := []string{one, one, bad, bad, one, two, one, one}
	var jobs []string
	for i, line := range lines(t, newGate(t, s).send("POST", batchPath, strings.Join(all, "\n"), "Content-Type", ndjsonType).Body) {
		if line.Code == http.StatusBadRequest && all[i] == bad {
			continue
		}
		if line.Code != http.StatusCreated || all[i] == bad {
			t.Fatalf("line %d: %+v", i+1, line)
		}
		run := s.Read(line.Answer.Trigger)
		if want := map[string]string{one: "a 1 x", two: "b 2 "}[all[i]]; want != fmt.Sprintf("%s %s %s", run.Spec.JobName, run.Spec.Input.Raw, run.Labels["team"]) {
			t.Errorf("line %d is stored as %+v", i+1, run)
		}
		jobs = append(jobs, run.Name)
	}
	slices.Sort(jobs)
	if len(slices.Compact(jobs)) != 6 {
		t.Errorf("stored %q", jobs)
	}
}
