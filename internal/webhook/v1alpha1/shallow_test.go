// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A request that the decoders can read is passed on as it is.
func TestShallow(t *testing.T) {
	nested := func(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }
	for sent, want := range map[string]string{
		`{"a": [1]}`:            `{"a": [1]}`,
		nested(maxReviewLevels): nested(maxReviewLevels),
		nested(20000):           strings.Repeat("[", maxReviewLevels) + "null" + strings.Repeat("]", maxReviewLevels),
	} {
		var got []byte
		next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got, _ = io.ReadAll(r.Body) })
		shallow(next).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader(sent)))
		if string(got) != want {
			t.Errorf("%.20s was passed on as %.20s (%d bytes, want %d)", sent, got, len(got), len(want))
		}
	}
}
