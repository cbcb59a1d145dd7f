// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
)

const (
	jsonType   = "application/json"
	ndjsonType = "application/x-ndjson"
)

// Bounds of bodies.
const (
	// maxTriggerBytes leaves room for an input of 64 KiB that is written with escapes and spaces.
	maxTriggerBytes = 256 << 10
	// maxBatchBytes bounds a JSON batch. A larger one can be sent as application/x-ndjson.
	maxBatchBytes = 4 << 20
	// maxEmptyBytes bounds the body of a route that takes none: {} with spaces.
	maxEmptyBytes = 4 << 10
	// maxBodiesBytes bounds the bodies in the memory of this process, and callerBodiesBytes those of one caller.
	maxBodiesBytes    = 256 << 20
	callerBodiesBytes = 32 << 20
)

// readJSON decodes a JSON body of at most limit bytes. An empty body changes nothing. The bytes count as held as they arrive;
// done ends that, once. Errors: 400, 413, 415, 429.
func (s *Server) readJSON(w http.ResponseWriter, r *http.Request, limit int64, into any) (done func(), err error) {
	if kind := mediaType(r); kind != jsonType && kind != "" {
		return nil, unsupportedType(kind, jsonType)
	}
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	body := &heldBody{Reader: http.MaxBytesReader(w, r.Body, limit), held: s.bodies, caller: userOf(r.Context()).GetName()}
	text, err := io.ReadAll(body)
	if err == nil {
		err = decode(text, into)
	}
	if err != nil {
		body.done()
		return nil, bodyError(err, limit)
	}
	return sync.OnceFunc(body.done), nil
}

// heldBody counts the bytes of a body as they arrive. It ends with a 429 beyond the bound on bodies.
type heldBody struct {
	io.Reader
	held   *bytesHeld
	caller string
	// passes means that nobody keeps the body: its bytes count for the caller's bound, not as held.
	passes bool
	size   int64
}

// Read reads and counts.
func (b *heldBody) Read(into []byte) (int, error) {
	n, err := b.Reader.Read(into)
	take := b.held.take
	if b.passes {
		take = b.held.pass
	}
	if !take(b.caller, int64(n)) {
		return 0, tooManyBodies()
	}
	b.size += int64(n)
	return n, err
}

func (b *heldBody) done() {
	if b.passes {
		b.held.passed(b.caller, b.size)
		return
	}
	b.held.give(b.caller, b.size)
}

// decode decodes a JSON text strictly: it refuses unknown fields, fields in another case, and fields that are there twice.
func decode(text []byte, into any) error {
	if len(text) == 0 {
		return nil
	}
	err := strictly(text, into)
	if err != nil && statusCode(err) == 0 {
		return badRequest("the body is not what this route takes: %v", err)
	}
	return err
}

func strictly(text []byte, into any) error {
	strict, err := kjson.UnmarshalStrict(text, into)
	if err != nil {
		return err
	}
	return errors.Join(strict...)
}

func bodyError(err error, limit int64) error {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return tooLarge(limit)
	case statusCode(err) != 0:
		return err
	default:
		return badRequest("the body could not be read: %v", err)
	}
}

func tooManyBodies() error {
	return apierrors.NewTooManyRequests("the caller's bodies in the memory of this gateway, or those of all, are too many or too large, try again later", retrySeconds)
}

func tooLarge(limit int64) error {
	return failed(http.StatusRequestEntityTooLarge, metav1.StatusReasonRequestEntityTooLarge, "the body may have at most %d bytes", limit)
}

func unsupportedType(got, want string) error {
	return failed(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType, "the body must be %s, not %s", want, got)
}

// mediaType returns the type of the body, without parameters. It is empty if the request does not say it.
func mediaType(r *http.Request) string {
	header := r.Header.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(header)
	if err != nil {
		return header
	}
	return kind
}
