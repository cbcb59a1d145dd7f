// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var receiverPath = field.NewPath("spec", "receivers").Key("push")

func deliveryOf(t *testing.T, body string) *Delivery {
	t.Helper()
	d, err := NewDelivery([]byte(body), map[string]string{"x-github-event": "push", "x-gitlab-token": "secret", "x-odd": "a\xff"})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func compiledReceiver(t *testing.T, filter, input string) *Receiver {
	t.Helper()
	r, errs := CompileReceiver(&v1alpha1.JobReceiver{FilterExpression: filter, InputExpression: input}, receiverPath)
	if len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
	return r
}

func TestCompileReceivers(t *testing.T) {
	for text, tc := range map[string]struct {
		receiver v1alpha1.JobReceiver
		want     string
	}{
		"nothing":                {},
		"both":                   {receiver: v1alpha1.JobReceiver{FilterExpression: `body.ref == "refs/heads/main"`, InputExpression: `{"a": body.b, ?"c": headers[?"d"]}`}},
		"an unknown filter":      {receiver: v1alpha1.JobReceiver{FilterExpression: "bdy.ref"}, want: "spec.receivers[0].filterExpression: Invalid value"},
		"a filter of no bool":    {receiver: v1alpha1.JobReceiver{FilterExpression: "size(headers)"}, want: "must give a bool, not int"},
		"a bad input":            {receiver: v1alpha1.JobReceiver{InputExpression: "{"}, want: "spec.receivers[0].inputExpression: Invalid value"},
		"a pattern of the body":  {receiver: v1alpha1.JobReceiver{FilterExpression: "body.a.matches(body.b)"}, want: "must have a text in quotes"},
		"a list of a map":        {receiver: v1alpha1.JobReceiver{InputExpression: "headers.map(h, h)"}, want: "must not make a list of a map"},
		"a costly function":      {receiver: v1alpha1.JobReceiver{FilterExpression: `body.a.indexOf("b") > 0`}, want: "must not call indexOf"},
		"a function of formats":  {receiver: v1alpha1.JobReceiver{InputExpression: `"%.999999999f".format([1.5])`}, want: "must not call format"},
		"an unknown function":    {receiver: v1alpha1.JobReceiver{FilterExpression: `sets.contains(body.a, body.b)`}, want: "does not compile"},
		"a large replacement":    {receiver: v1alpha1.JobReceiver{InputExpression: `body.a.replace("a", body.b)`}, want: "the arguments of replace"},
		"no text to replace":     {receiver: v1alpha1.JobReceiver{InputExpression: `body.a.replace("", "b")`}, want: "the arguments of replace"},
		"a large pattern":        {receiver: v1alpha1.JobReceiver{FilterExpression: `body.a.matches("x{600}|y{600}")`}, want: "patterns that are too large"},
		"a bad pattern":          {receiver: v1alpha1.JobReceiver{FilterExpression: `body.a.matches("(")`}, want: "does not compile"},
		"a mixed object":         {receiver: v1alpha1.JobReceiver{InputExpression: `{"a": "b", "c": 1, "d": body.e, "f": [1, "g"]}`}},
		"functions of texts":     {receiver: v1alpha1.JobReceiver{InputExpression: `body.ref.replace("refs/heads/", "").split("/").filter(p, p.lowerAscii().startsWith("a"))`}},
		"a secret header as key": {receiver: v1alpha1.JobReceiver{IdempotencyHeader: "X-GitLab-Token"}, want: "spec.receivers[0].idempotencyHeader: Invalid value"},
	} {
		t.Run(text, func(t *testing.T) {
			d := &v1alpha1.JobDefinition{Spec: v1alpha1.JobDefinitionSpec{Receivers: []v1alpha1.JobReceiver{tc.receiver}}}
			errs := CompileReceivers(d)
			if tc.want == "" && len(errs) > 0 || tc.want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), tc.want)) {
				t.Errorf("%v, want %q", errs, tc.want)
			}
		})
	}
}

func TestReceiverAccepts(t *testing.T) {
	large := `{"a":[` + strings.TrimSuffix(strings.Repeat("1,", 5000), ",") + "]}"
	for name, tc := range map[string]struct {
		filter, body string
		want         bool
		problem      string
	}{
		"without one":            {body: "1", want: true},
		"true":                   {filter: `body.ref == "main" && headers["x-github-event"] == "push"`, body: `{"ref":"main"}`, want: true},
		"false":                  {filter: `body.ref == "main"`, body: `{"ref":"other"}`},
		"of a field that is not": {filter: `body.ref == "main"`, body: "{}", problem: "no such key: ref"},
		"of no bool":             {filter: "body", body: `"text"`, problem: "gives a value of type string, not bool"},
		"no token of GitLab":     {filter: `"x-gitlab-token" in headers || headers["x-odd"] != "a�"`, body: "1"},
		"too costly":             {filter: "body.a.all(x, body.a.all(y, x == y))", body: large, problem: "cost"},
		"too deep to compare":    {filter: "body.a.all(x, body == body)", body: large, problem: "cost"},
		"too deep to look up":    {filter: "body.a.all(x, body in [body, body])", body: large, problem: "cost"},
		"a long text, passed on": {filter: `has(body.a) && body.b == 1`, body: `{"a":"` + strings.Repeat("x", 65537) + `","b":1}`, want: true},
		"a long text":            {filter: `body.a.startsWith("x")`, body: `{"a":"` + strings.Repeat("x", 65537) + `"}`, problem: "no such overload"},
		"too many parts":         {filter: `body.map(x, "` + strings.Repeat("a", 2000) + `".split("")).size() > 0`, body: large[5 : len(large)-1], problem: "cost"},
	} {
		t.Run(name, func(t *testing.T) {
			got, problem := compiledReceiver(t, tc.filter, "").Accepts(t.Context(), deliveryOf(t, tc.body))
			switch {
			case tc.problem == "" && (problem != nil || got != tc.want):
				t.Errorf("%v, %v", got, problem)
			case tc.problem != "" && (problem == nil || !strings.Contains(problem.Error(), tc.problem)):
				t.Errorf("%v, %v, want %q", got, problem, tc.problem)
			case problem != nil && problem.Field != "spec.receivers[push].filterExpression":
				t.Errorf("the error is about %s", problem.Field)
			}
		})
	}
}

func TestReceiverInput(t *testing.T) {
	spaced := `{"a": "` + strings.Repeat("x", 40<<10) + `",` + strings.Repeat(" ", 40<<10) + `"b":1}`
	for name, tc := range map[string]struct{ input, body, want, problem string }{
		"the body":                   {body: ` {"a": [1, 2.50, "<é>"]} `, want: `{"a":[1,2.50,"<é>"]}`},
		"the body without spaces":    {body: spaced, want: strings.ReplaceAll(spaced, " ", "")},
		"a large integer":            {input: "body.id", body: `{"id":9223372036854775807}`, want: "9223372036854775807"},
		"an object in order":         {input: `{"z": body.b, "a": body.a, "m": headers["x-github-event"]}`, body: `{"a":{"y":1,"x":null},"b":[true,-1.5]}`, want: `{"a":{"x":null,"y":1},"m":"push","z":[true,-1.5]}`},
		"what is there":              {input: `{?"a": body.?a, ?"b": body.?b}`, body: `{"b":"<"}`, want: `{"b":"<"}`},
		"empty ones":                 {input: `[[], {}, "", b"ab", duration("90s"), timestamp("2026-01-02T03:04:05Z")]`, body: "1", want: `[[],{},"","YWI=","90s","2026-01-02T03:04:05Z"]`},
		"a list from an object":      {input: "body.map(k, k)", body: `{"c":1,"a":2,"b":3}`, want: `["a","b","c"]`},
		"a field that is not":        {input: "body.a.b", body: `{"a":1}`, problem: "spec.receivers[push].inputExpression"},
		"an optional value":          {input: "body.?a", body: "{}", problem: "gives a value of type optional_type, which has no JSON"},
		"an object with number keys": {input: "{1: 2}", body: "{}", problem: "gives an object with a key that is not a string"},
		"no number":                  {input: "0.0 / 0.0", body: "{}", problem: "has no JSON"},
		"a large body":               {body: `"` + strings.Repeat("x", 64<<10) + `"`, problem: "set spec.receivers[push].inputExpression"},
		"a very large body":          {body: `"` + strings.Repeat("x", 1<<20) + `"`, problem: "set spec.receivers[push].inputExpression"},
		"a large part":               {input: "[body, body, body]", body: `"` + strings.Repeat("x", 30<<10) + `"`, problem: "spec.receivers[push].inputExpression gives an input of more than 65536 bytes"},
		"a long text":                {input: "{'a': body}", body: `"` + strings.Repeat("x", 70<<10) + `"`, problem: "inputExpression gives an input of more"},
		"a part of a text":           {input: "body.ref.replace('refs/heads/', '')", body: `{"ref":"refs/heads/main"}`, want: `"main"`},
		"many parts":                 {input: "body.map(x, body)", body: "[" + strings.TrimSuffix(strings.Repeat("1,", 30000), ",") + "]", problem: "inputExpression gives"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := compiledReceiver(t, "", tc.input).Input(t.Context(), deliveryOf(t, tc.body))
			if tc.problem == "" && (err != nil || string(got) != tc.want) {
				t.Errorf("%.200s, %v", got, err)
			}
			if tc.problem != "" && (err == nil || !strings.Contains(err.Error(), tc.problem)) {
				t.Errorf("%.200s, %v, want %q", got, err, tc.problem)
			}
			if large := new(InputTooLargeError); errors.As(err, &large) && large.Field.String() != "spec.receivers[push].inputExpression" {
				t.Errorf("the error is about %s", large.Field)
			}
		})
	}
}

func TestNewDeliveryRefusesWhatIsNoJSON(t *testing.T) {
	for _, body := range []string{"", "a=b", "{} {}", `{"a":}`, "nul", strings.Repeat("[", 20000)} {
		if _, err := NewDelivery([]byte(body), nil); err == nil || !strings.Contains(err.Error(), "the body is not JSON") {
			t.Errorf("%.20s: %v", body, err)
		}
	}
	if kind := deliveryOf(t, `{"type":"invoice.paid"}`).Type(); kind != "invoice.paid" {
		t.Errorf("the type is %q", kind)
	}
	if kind := deliveryOf(t, `{"type":1}`).Type(); kind != "" {
		t.Errorf("the type is %q", kind)
	}
}

// A trigger of a receiver is completed by defaults of its own, which those of the definition replace.
func TestDefaultsOfReceivers(t *testing.T) {
	definition := &v1alpha1.JobDefinition{}
	for name, tc := range map[string]struct {
		defaults *v1alpha1.JobRunDefaults
		label    string
		key      string
		release  v1alpha1.IdempotencyReleasePolicy
		ttl      int32
	}{
		"of a receiver":                   {label: "push", key: "k", release: v1alpha1.IdempotencyReleaseOnFailure, ttl: 86400},
		"of a receiver, without a key":    {label: "push"},
		"of another caller":               {key: "k"},
		"of a receiver, with other terms": {&v1alpha1.JobRunDefaults{IdempotencyRelease: v1alpha1.IdempotencyReleaseNever, IdempotencyTTLSeconds: 5}, "push", "k", v1alpha1.IdempotencyReleaseNever, 5},
	} {
		t.Run(name, func(t *testing.T) {
			definition.Spec.Defaults = tc.defaults
			compiled, errs := Compile(definition)
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			labels := map[string]string{}
			if tc.label != "" {
				labels[v1alpha1.LabelReceiver] = tc.label
			}
			got, errs := compiled.Complete(&v1alpha1.JobRunSpec{IdempotencyKey: tc.key}, labels)
			if len(errs) > 0 || got.IdempotencyRelease != tc.release || got.IdempotencyTTLSeconds != tc.ttl {
				t.Errorf("%q, %d, %v", got.IdempotencyRelease, got.IdempotencyTTLSeconds, errs)
			}
			if again, errs := compiled.Complete(&got, labels); len(errs) > 0 || again.IdempotencyRelease != tc.release {
				t.Errorf("completed again: %q, %v", again.IdempotencyRelease, errs)
			}
		})
	}
}

// Whatever the expressions and the body are, what comes out is the same each time, is JSON, and is small.
func FuzzReceiver(f *testing.F) {
	f.Add(`body.ref == "refs/heads/main"`, `{"repo": body.repository.full_name, ?"who": body.?sender.?login}`, `{"ref":"refs/heads/main","repository":{"full_name":"a/b"}}`)
	f.Add(`body.all(k, body[k] in [1, {"a": [2.5]}])`, `body.map(k, {k: body[k]}) + [headers["x-github-event"].split("u"), b"x", duration("1s")]`, `{"b":1,"a":{"a":[2.5]}}`)
	f.Add(`body.exists(x, x.matches("^a+$") || x.replace("a", "bb").size() > 3)`, `optional.of(body)`, `["aaa", "b"]`)
	f.Fuzz(func(t *testing.T, filter, input, body string) {
		r, errs := CompileReceiver(&v1alpha1.JobReceiver{FilterExpression: filter, InputExpression: input}, receiverPath)
		if len(errs) > 0 {
			return
		}
		d, err := NewDelivery([]byte(body), map[string]string{"x-github-event": "push"})
		if err != nil {
			return
		}
		first, problem := r.Accepts(t.Context(), d)
		if second, again := r.Accepts(t.Context(), d); first != second || (problem == nil) != (again == nil) {
			t.Errorf("%v, %v and then %v, %v", first, problem, second, again)
		}
		text, err := r.Input(t.Context(), d)
		second, again := r.Input(t.Context(), d)
		if string(text) != string(second) || (err == nil) != (again == nil) {
			t.Errorf("%s, %v and then %s, %v", text, err, second, again)
		}
		if err == nil && (!json.Valid(text) || len(text) > v1alpha1.MaxInputBytes) {
			t.Errorf("%d bytes that are no input: %.200s", len(text), text)
		}
	})
}
