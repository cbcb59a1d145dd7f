// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"bytes"
	"io"
	"net/http"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/text"
)

const (
	// maxReviewLevels bounds the levels of a request that the webhook decodes. Go's decoders refuse 10,000 levels, and a
	// request has two more than the JobRun in it.
	maxReviewLevels = 9000
	// maxReviewBytes exceeds what controller-runtime reads, so that controller-runtime refuses a request that is cut.
	maxReviewBytes = 8 << 20
)

// shallow returns a handler that passes requests on to next, with null in the place of each array and object below
// maxReviewLevels. Next can then decode the request, and its answer names the field that has too many levels.
func shallow(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxReviewBytes))
		if err != nil {
			http.Error(w, "read the request: "+err.Error(), http.StatusBadRequest)
			return
		}
		if v1alpha1.Levels(body) > maxReviewLevels {
			body = text.CutLevels(body, maxReviewLevels)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}
