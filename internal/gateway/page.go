// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"strconv"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Bounds of one page of a list.
const (
	defaultLimit = 100
	maxLimit     = 500
)

// pageOf returns the options of a list: the namespace of the path, and the parameters limit and continue.
func pageOf(r *http.Request) (*client.ListOptions, error) {
	query := r.URL.Query()
	limit := int64(defaultLimit)
	if text := query.Get("limit"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 || n > maxLimit {
			return nil, badRequest("limit must be a number from 1 to %d, not %q", maxLimit, text)
		}
		limit = n
	}
	return &client.ListOptions{Namespace: namespaceOf(r), Limit: limit, Continue: query.Get("continue")}, nil
}
