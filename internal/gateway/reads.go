// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
)

// Bounds of what lists and reads have in memory.
const (
	// chunkLimit is how many objects a list decodes at once.
	chunkLimit = 25
	// maxPageBytes ends a page: it has no more objects than those of the chunk that passed it.
	maxPageBytes = 4 << 20
	// listBytes is about what a list takes at most until its answer is ready, objectBytes what the read of one object takes.
	listBytes   = 16 << 20
	objectBytes = 1 << 20
	// maxReadBytes bounds what all lists and reads take together. They wait for their turn, but no longer than readPatience.
	maxReadBytes = 128 << 20
	readPatience = 10 * time.Second
	// callerReads bounds the lists and reads of one caller that have or await their turn.
	callerReads = 256
	// maxAnswerBytes bounds the answers that clients have not read yet, and callerAnswerBytes those of one caller.
	maxAnswerBytes    = 64 << 20
	callerAnswerBytes = 16 << 20
)

// answerRead writes the JSON of what read returns. read takes about size bytes.
func (s *Server) answerRead(w http.ResponseWriter, r *http.Request, size int64, read func(context.Context) (any, error)) error {
	caller := userOf(r.Context()).GetName()
	text, err := s.readInTurn(r.Context(), caller, size, read)
	if err != nil {
		return err
	}
	if !s.answers.take(caller, int64(len(text))) {
		return tooManyReads("the answers that the caller, or all callers, have not read yet")
	}
	defer s.answers.give(caller, int64(len(text)))
	s.write(w, http.StatusOK, text)
	return nil
}

// readInTurn waits until there is room, and returns the JSON of what read returns. It returns a 429 if there is no room in
// time.
func (s *Server) readInTurn(ctx context.Context, caller string, size int64, read func(context.Context) (any, error)) ([]byte, error) {
	leave, err := s.readers.enter("the lists and reads of the caller", caller)
	if err != nil {
		return nil, err
	}
	defer leave()
	waiting, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	if err := s.reads.Acquire(waiting, size); err != nil {
		return nil, tooManyReads("the lists and reads of all callers")
	}
	defer s.reads.Release(size)
	value, err := read(ctx)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return append(text, '\n'), nil
}

func tooManyReads(what string) error {
	return apierrors.NewTooManyRequests(what+" have as much memory as this gateway allows, try again later", retrySeconds)
}

// objectList is one page of objects, as a typed list is encoded.
type objectList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	// Items has the JSON of each object.
	Items []json.RawMessage `json:"items"`
}

// readPage reads a page of objects of a kind in chunks: as many as asked for, or fewer if they are large. empty is a list of
// their type.
func (s *Server) readPage(ctx context.Context, empty client.ObjectList, kind string, page *client.ListOptions) (any, error) {
	read := &objectList{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind + "List"}, Items: []json.RawMessage{},
	}
	size, next := 0, *page
	for {
		left := page.Limit - int64(len(read.Items))
		next.Limit = min(left, chunkLimit)
		chunk, _ := empty.DeepCopyObject().(client.ObjectList)
		if err := s.API.List(ctx, chunk, &next); err != nil {
			return nil, jobrun.Classify(err)
		}
		texts, err := encoded(chunk, kind)
		if err != nil {
			return nil, err
		}
		for _, text := range texts {
			size += len(text)
		}
		read.Items = append(read.Items, texts...)
		read.ResourceVersion, read.Continue, read.RemainingItemCount = chunk.GetResourceVersion(), chunk.GetContinue(), chunk.GetRemainingItemCount()
		if next.Continue = read.Continue; next.Continue == "" || int64(len(read.Items)) >= page.Limit || size >= maxPageBytes {
			return read, nil
		}
	}
}

// encoded returns the JSON of each object of a list, as the gateway shows it.
func encoded(list client.ObjectList, kind string) ([]json.RawMessage, error) {
	var texts []json.RawMessage
	err := meta.EachListItem(list, func(item runtime.Object) error {
		object, ok := item.(client.Object)
		if !ok {
			return fmt.Errorf("the list has a %T", item)
		}
		describe(object, kind)
		text, err := json.Marshal(object)
		texts = append(texts, text)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("encode the objects of a list: %w", err)
	}
	return texts, nil
}
