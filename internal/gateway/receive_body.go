// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/definition"
	"github.com/jobrun-dev/jobrun/internal/gateway/signature"
)

// Bounds of deliveries. Anybody can send one, so they have their own bounds, and take nothing from callers with a token.
const (
	// maxDeliveryBytes is what GitHub sends at most.
	maxDeliveryBytes = 25 << 20
	// maxDeliveriesBytes bounds the bodies in memory whose signatures are not checked yet, and receiverBytes those of one address:
	// a body of the largest size, and some small ones. So no receiver can take the room of the others.
	maxDeliveriesBytes = 96 << 20
	receiverBytes      = 28 << 20
	// deliveryPatience is how long the body of a delivery may take. GitHub and GitLab give up after 10 s. stepPatience is how long
	// each stepBytes of it may take, so that a client that sends nothing soon holds nothing.
	deliveryPatience = 15 * time.Second
	stepPatience     = 5 * time.Second
	stepBytes        = 1 << 20
	// maxDeliveries bounds the deliveries under way, and receiverDeliveries those to one address, if that is less than what a caller
	// may have in flight.
	maxDeliveries, receiverDeliveries = 1024, 256
	// pieceBytes is how much of a body is read at once. A client that sends nothing holds one piece.
	pieceBytes = 16 << 10
	// maxDecodedBytes bounds what decoded bodies take, and decodePatience is how long a body waits for its turn.
	maxDecodedBytes = 256 << 20
	decodePatience  = 10 * time.Second
	// evaluationTimeout bounds the expressions of a delivery. Their cost is bounded, too: this is for a busy machine.
	evaluationTimeout = 5 * time.Second
	// elementBytes is what one field or item of a decoded body takes at most: 182 bytes in an object of one field, 16 in an array of
	// numbers. An expression that goes through objects sorts their keys, which takes 16 bytes of a field, and more of an object.
	elementBytes = 256
	formType     = "application/x-www-form-urlencoded"
	// formPayload is the field of a form of GitHub that has the JSON.
	formPayload = "payload"
)

// incoming is a delivery whose body has not come yet.
type incoming struct {
	address string
	checker *signature.Checker
	// isKept is false if no signature is right. Then the body need not be kept.
	isKept bool
}

// readDelivery reads the body of a delivery in pieces and hands them to the checker. The pieces of a body that is kept count as held
// until done is called. It decodes nothing. Errors: 400, 413, 429.
func (s *Server) readDelivery(w http.ResponseWriter, r *http.Request, to incoming) (body signature.Body, done func(), err error) {
	if r.ContentLength > maxDeliveryBytes {
		return nil, nil, tooLarge(maxDeliveryBytes)
	}
	held := &heldBody{Reader: s.hurried(w, r), held: s.deliveryBytes, caller: to.address, passes: !to.isKept}
	piece := make([]byte, pieceBytes)
	for {
		n, err := io.ReadFull(held, piece)
		_, _ = to.checker.Write(piece[:n])
		if to.isKept {
			body, piece = append(body, piece[:n]), make([]byte, pieceBytes)
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return body, sync.OnceFunc(held.done), nil
		case err != nil:
			held.done()
			return nil, nil, bodyError(err, maxDeliveryBytes)
		}
	}
}

// hurriedBody is a body that must come at some speed. A recorder of a test has no deadlines.
type hurriedBody struct {
	io.Reader
	clock   clock.PassiveClock
	control *http.ResponseController
	end     time.Time
	// step is how much may come before the next deadline.
	step int
}

func (s *Server) hurried(w http.ResponseWriter, r *http.Request) *hurriedBody {
	return &hurriedBody{
		Reader: http.MaxBytesReader(w, r.Body, maxDeliveryBytes), clock: s.Clock, control: http.NewResponseController(w),
		end: s.Clock.Now().Add(deliveryPatience),
	}
}

// Read reads. There is no deadline any more after the end.
func (b *hurriedBody) Read(into []byte) (int, error) {
	if b.step <= 0 {
		next := b.clock.Now().Add(stepPatience)
		if next.After(b.end) {
			next = b.end
		}
		b.step = stepBytes
		_ = b.control.SetReadDeadline(next)
	}
	n, err := b.Reader.Read(into)
	b.step -= n
	if errors.Is(err, io.EOF) {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// evaluation is what a delivery with a right signature gives.
type evaluation struct {
	// ignored is why the delivery triggers nothing; empty if it triggers.
	ignored string
	// input is the JSON of the input.
	input []byte
}

// evaluate decodes a delivery and evaluates the expressions of its receiver. What it takes is freed when it returns. Errors: 400,
// 413, 422, 429.
func (s *Server) evaluate(r *http.Request, to *receiver, body signature.Body) (evaluation, error) {
	if to.Type == v1alpha1.ReceiverGitHub && mediaType(r) == formType {
		payload, err := s.payloadOf(r.Context(), body)
		if err != nil {
			return evaluation{}, err
		}
		body = payload
	}
	size, elements := measure(body)
	leave, err := s.awaitDecoding(r.Context(), 2*size+elementBytes*elements)
	if err != nil {
		return evaluation{}, err
	}
	defer leave()
	delivery, err := definition.NewDelivery(bytes.Join(body, nil), headersOf(r.Header))
	if err != nil {
		return evaluation{}, badRequest("%v", err)
	}
	if to.Type == v1alpha1.ReceiverStandardWebhooks {
		if ignored := ignoredEvent(to, delivery.Type()); ignored != "" {
			return evaluation{ignored: ignored}, nil
		}
	}
	return s.evaluateBy(r.Context(), to, delivery)
}

// payloadOf returns the JSON in a form of GitHub.
func (s *Server) payloadOf(ctx context.Context, body signature.Body) (signature.Body, error) {
	size, _ := measure(body)
	leave, err := s.awaitDecoding(ctx, 4*size)
	if err != nil {
		return nil, err
	}
	defer leave()
	form, err := url.ParseQuery(string(bytes.Join(body, nil)))
	if err != nil || !form.Has(formPayload) {
		return nil, badRequest("the body is a form without the field %s", formPayload)
	}
	return signature.Body{[]byte(form.Get(formPayload))}, nil
}

// awaitDecoding waits until there is room for a decoded body of a size in bytes.
func (s *Server) awaitDecoding(ctx context.Context, size int64) (leave func(), err error) {
	if size > maxDecodedBytes {
		return nil, failed(http.StatusRequestEntityTooLarge, metav1.StatusReasonRequestEntityTooLarge, "the body has too many fields and items")
	}
	waiting, cancel := context.WithTimeout(ctx, decodePatience)
	defer cancel()
	err = s.decoding.Acquire(waiting, size)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, outOfTime()
	case err != nil:
		return nil, apierrors.NewTooManyRequests("too many large deliveries are under way, try again later", retrySeconds)
	}
	return func() { s.decoding.Release(size) }, nil
}

// measure returns the bytes of a JSON text, and about how many fields and items it has: the commas, braces and brackets outside of
// its texts.
func measure(body signature.Body) (size, elements int64) {
	quoted, escaped := false, false
	for _, piece := range body {
		size += int64(len(piece))
		for _, c := range piece {
			switch {
			case escaped:
				escaped = false
			case quoted && c == '\\':
				escaped = true
			case c == '"':
				quoted = !quoted
			case !quoted && (c == ',' || c == '{' || c == '['):
				elements++
			}
		}
	}
	return size, elements
}

// headersOf returns the headers as expressions see them.
func headersOf(header http.Header) map[string]string {
	all := make(map[string]string, len(header))
	for name, values := range header {
		all[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return all
}
