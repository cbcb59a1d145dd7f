// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// Key is one busy key: a run waits for it or executes.
type Key struct {
	JobName        string  `json:"jobName" doc:"The job of the key."`
	ConcurrencyKey string  `json:"concurrencyKey" doc:"The key."`
	Waiting        *KeyRun `json:"waiting,omitempty" doc:"The run that waits. Further triggers coalesce with it or are refused."`
	Executing      *KeyRun `json:"executing,omitempty" doc:"The run that executes, starts or is about to end."`
}

// KeyRun is a run that waits or executes for a key.
type KeyRun struct {
	Run        string       `json:"run" doc:"The name of the run. A run that waits may not exist yet: its create may be under way."`
	Generation int64        `json:"generation,omitempty" doc:"The generation of the lease, if the run executes."`
	Since      *metav1.Time `json:"since,omitempty" doc:"Since when the run waits, if it is known."`
}

// KeyList is one page of the busy keys of a namespace.
type KeyList struct {
	Items    []Key  `json:"items" doc:"The keys, in no order that means anything. A page may have fewer than limit, and even none."`
	Continue string `json:"continue,omitempty" doc:"The parameter continue of the next page. Missing on the last one."`
}

// listKeys answers GET /v1/namespaces/{ns}/keys.
func (s *Server) listKeys(w http.ResponseWriter, r *http.Request) error {
	page, err := pageOf(r)
	if err != nil {
		return err
	}
	job := r.URL.Query().Get("jobName")
	return s.answerRead(w, r, listBytes, func(ctx context.Context) (any, error) {
		var rows v1alpha1.RunKeyList
		if err := s.API.List(ctx, &rows, page); err != nil {
			return nil, jobrun.Classify(err)
		}
		keys := KeyList{Items: []Key{}, Continue: rows.Continue}
		for i := range rows.Items {
			if key, busy := keyOf(&rows.Items[i].Spec); busy && (job == "" || key.JobName == job) {
				keys.Items = append(keys.Items, key)
			}
		}
		return keys, nil
	})
}

// keyOf returns what a row says. busy is false for the row of an idempotencyKey, and for one that only notes Jobs.
func keyOf(row *v1alpha1.RunKeySpec) (_ Key, busy bool) {
	key := Key{JobName: row.JobName, ConcurrencyKey: row.Key}
	waits := row.Pending
	if waits == nil {
		waits = row.Line
	}
	if waits != nil {
		key.Waiting = &KeyRun{Run: waits.RunName, Since: waits.Time}
	}
	if row.Leased != nil {
		key.Executing = &KeyRun{Run: row.Leased.RunName, Generation: row.Leased.Generation}
	}
	return key, row.Kind == v1alpha1.RunKeyConcurrency && (waits != nil || row.Leased != nil)
}
