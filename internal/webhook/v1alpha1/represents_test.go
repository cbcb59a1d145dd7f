// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/testing/wrappers"
	webhook "github.com/jobrun-dev/jobrun/internal/webhook/v1alpha1"
)

const theGateway = "system:serviceaccount:jobrun-system:jobrun-gateway"

func withGateway(o *webhook.Options) { o.Gateway = theGateway }

// newReplicaBehind returns a replica that knows the gateway.
func newReplicaBehind(t *testing.T, change func(*webhook.Options), stored ...client.Object) replica {
	t.Helper()
	store := wrappers.NewStore(nil, stored...)
	return newReplicaOn(t, tokens("token-b"), store, store, withGateway, change)
}

// representing returns a manifest of a trigger that stands for several. rest are more fields of its spec.
func representing(represents, rest string) string {
	return "metadata: {name: b}\nspec: {jobName: job, represents: " + represents + ", " + rest + "}\n"
}

const (
	ofKey  = "concurrencyKey: k, coalesce: Skip"
	caller = `{input: {a: 1}, time: "2026-01-02T03:04:05.000000Z", user: ann}`
)

// recent returns so many represented triggers with that input.
func recent(n int, input string) string {
	return "[" + strings.TrimSuffix(strings.Repeat("{input: "+input+`, time: "2026-01-02T03:04:05.000000Z", user: ann}, `, n), ", ") + "]"
}

func TestCreateRepresents(t *testing.T) {
	for disposition, stored := range map[v1alpha1.Disposition][]client.Object{
		v1alpha1.DispositionCreated:   nil,
		v1alpha1.DispositionCoalesced: {wrappers.MakeRunKey("k").Pending("a").Obj(), wrappers.MakeKeyedRun("a").Pending().Obj()},
	} {
		t.Run(string(disposition), func(t *testing.T) {
			r := newReplicaBehind(t, func(*webhook.Options) {}, stored...)
			manifest := representing("{count: 40, recent: ["+caller+"]}", ofKey)
			run, _ := admitted(t, manifest, r.create(t, manifest, by(theGateway)))
			a := run.Spec.Admission
			if a.Disposition != disposition || a.Represents != 40 {
				t.Errorf("admission %+v, want %s of 40 triggers", a, disposition)
			}
		})
	}
}

// Whoever is not the gateway does not represent others, and nothing that cannot be counted once is admitted. Nothing is reserved.
func TestCreateRepresentsBadInput(t *testing.T) {
	const forbidden, invalid = http.StatusForbidden, http.StatusUnprocessableEntity
	one := "{count: 2}"
	for name, tc := range map[string]struct {
		manifest string
		change   func(*admission.Request)
		code     int32
		field    string
		says     string
	}{
		"by another user":       {representing(one, ofKey), by("ann"), forbidden, "", `spec.represents: only the gateway sets it, user "` + theGateway + `"; this is user "ann"`},
		"by nobody":             {representing(one, ofKey), by(""), forbidden, "", "spec.represents: only the gateway sets it"},
		"in a dry run":          {representing(one, ofKey), dryRun, invalid, "spec.represents", "a dry run stands for one trigger"},
		"without coalesce":      {representing(one, "concurrencyKey: k"), nil, invalid, "spec.represents", "represents needs coalesce"},
		"without a key":         {representing(one, "input: 1"), nil, invalid, "spec.represents", "represents needs coalesce"},
		"coalesce without key":  {representing(one, "coalesce: Skip"), nil, invalid, "spec.coalesce", "coalesce needs concurrencyKey"},
		"with idempotencyKey":   {representing(one, ofKey+", idempotencyKey: i"), nil, invalid, "spec.represents", "neither idempotencyKey nor batch"},
		"in a batch":            {representing(one, ofKey+", batch: {id: x, size: 1, leader: b}"), nil, invalid, "spec.represents", "neither idempotencyKey nor batch"},
		"of one":                {representing("{count: 1}", ofKey), nil, invalid, "spec.represents.count", "must be 2 to 100000"},
		"of less than none":     {representing("{count: -5}", ofKey), nil, invalid, "spec.represents.count", "must be 2 to 100000"},
		"of an unknown number":  {representing("{}", ofKey), nil, invalid, "spec.represents.count", "Required value"},
		"of too many":           {representing("{count: 100001}", ofKey), nil, invalid, "spec.represents.count", "must be 2 to 100000"},
		"more than it says":     {representing("{count: 2, recent: "+recent(2, "1")+"}", ofKey), nil, invalid, "spec.represents.recent", "Too many: 2: must have at most 1 item"},
		"33 entries":            {representing("{count: 50, recent: "+recent(33, "1")+"}", ofKey), nil, invalid, "spec.represents.recent", "Too many: 33: must have at most 32 items"},
		"more than 32 KiB":      {representing("{count: 50, recent: "+recent(30, strings.Repeat("x", 1100))+"}", ofKey), nil, invalid, "spec.represents.recent", "bytes of JSON"},
		"of too many levels":    {representing("{count: 50, recent: "+recent(1, nested(65))+"}", ofKey), nil, invalid, "spec.represents.recent[0].input", "64 levels"},
		"an entry without time": {representing("{count: 50, recent: [{user: ann}]}", ofKey), nil, invalid, "spec.represents.recent[0].time", "Required value"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplicaBehind(t, func(*webhook.Options) {})
			changes := []func(*admission.Request){by(theGateway)}
			if tc.change != nil {
				changes = append(changes, tc.change)
			}
			response := r.create(t, tc.manifest, changes...)
			if response.Allowed || response.Result.Code != tc.code || !strings.Contains(response.Result.Message, tc.says) {
				t.Fatalf("allowed %t, %+v; want a %d that says %q", response.Allowed, response.Result, tc.code, tc.says)
			}
			if tc.field != "" && !names(response.Result, tc.field) {
				t.Errorf("causes %+v do not name %s", response.Result.Details.Causes, tc.field)
			}
			if writes := r.store.Writes(); len(writes) > 0 {
				t.Errorf("wrote %v", writes)
			}
		})
	}
}

func names(status *metav1.Status, field string) bool {
	for _, cause := range status.Details.Causes {
		if cause.Field == field {
			return true
		}
	}
	return false
}

// While a replica is of an older version, the gateway learns that it must send each trigger alone. Nothing is reserved.
func TestCreateRepresentsBesideAnOlderReplica(t *testing.T) {
	r := newReplicaBehind(t, func(o *webhook.Options) { o.Represents = func() bool { return false } })
	response := r.create(t, representing("{count: 2}", ofKey), by(theGateway))
	if response.Allowed || response.Result.Code != http.StatusServiceUnavailable || len(response.Result.Details.Causes) != 1 {
		t.Fatalf("allowed %t, %+v", response.Allowed, response.Result)
	}
	if cause := response.Result.Details.Causes[0]; cause.Type != v1alpha1.CauseOlderReplica || cause.Field != "spec.represents" {
		t.Errorf("cause %+v", cause)
	}
	if alone := r.create(t, skips, by(theGateway)); !alone.Allowed {
		t.Errorf("one trigger is refused: %+v", alone.Result)
	}
	if writes := r.store.Writes(); len(writes) != 1 {
		t.Errorf("wrote %v, want the key of the one trigger", writes)
	}
}

// A JobRun that represents several triggers is not cancelled before it executes.
func TestUpdateCancelsNoneOfSeveral(t *testing.T) {
	several := "represents: {count: 40}, coalesce: Skip, admission: " + answer
	for name, tc := range map[string]struct {
		spec, status string
		refused      bool
	}{
		"a receipt":               {several, "{}", true},
		"a bound receipt":         {several, "{phase: Coalesced}", true},
		"a run that waits":        {several, "{phase: Pending}", true},
		"a run that executes":     {several, "{phase: Leased}", false},
		"a run that has ended":    {several, "{phase: Completed}", false},
		"a receipt with outcome":  {several, `{phase: Coalesced, completionTime: "2026-01-02T03:04:05Z"}`, false},
		"what is cancelled":       {several + ", cancel: true", "{phase: Pending}", false},
		"a run of one trigger":    {"coalesce: Skip, admission: " + answer, "{phase: Pending}", false},
		"a receipt of one":        {"coalesce: Skip, admission: " + answer, "{phase: Coalesced}", false},
		"a receipt of one, early": {"coalesce: Skip, admission: " + answer, "{}", false},
	} {
		t.Run(name, func(t *testing.T) {
			before := ours(labels, tc.spec) + "status: " + tc.status + "\n"
			after := ours(labels, strings.TrimSuffix(tc.spec, ", cancel: true")+", cancel: true") + "status: " + tc.status + "\n"
			response := newReplica(t).update(t, before, after)
			if response.Allowed == tc.refused {
				t.Fatalf("allowed %t, %+v", response.Allowed, response.Result)
			}
			if !tc.refused {
				return
			}
			want := fmt.Sprint([]metav1.StatusCause{{Type: v1alpha1.CauseRepresents, Field: "spec.cancel", Message: "40"}})
			if got := fmt.Sprint(response.Result.Details.Causes); response.Result.Code != http.StatusConflict || got != want {
				t.Errorf("%d with causes %s, want a 409 with %s", response.Result.Code, got, want)
			}
		})
	}
}

func TestUpdateKeepsRepresents(t *testing.T) {
	of := func(represents string) string {
		return ours(labels, "coalesce: Skip, admission: "+answer+", represents: "+represents)
	}
	before := of("{count: 3, recent: [" + caller + "]}")
	for after, allowed := range map[string]bool{
		before: true,
		of(`{count: 3, recent: [{input: {"a":  1}, time: "2026-01-02T03:04:05.000000Z", user: ann}]}`): true,
		of("{count: 4, recent: [" + caller + "]}"):                                                     false,
		of("{count: 3}"): false,
		of(`{count: 3, recent: [{input: {a: 2}, time: "2026-01-02T03:04:05.000000Z", user: ann}]}`): false,
		of(`{count: 3, recent: [{input: {a: 1}, time: "2026-01-02T03:04:06.000000Z", user: ann}]}`): false,
		of(`{count: 3, recent: [{input: {a: 1}, time: "2026-01-02T03:04:05.000000Z", user: bob}]}`): false,
		ours(labels, "coalesce: Skip, admission: "+answer):                                          false,
	} {
		response := newReplica(t).update(t, before, after)
		if response.Allowed != allowed {
			t.Errorf("allowed %t, want %t: %s", response.Allowed, allowed, after)
		}
		if !allowed && (response.Result == nil || !names(response.Result, "spec.represents")) {
			t.Errorf("%+v does not name spec.represents", response.Result)
		}
	}
}
