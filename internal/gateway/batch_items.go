// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"encoding/json"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxBatchItems bounds the triggers of a batch.
const maxBatchItems = 1000

// BatchItems are the triggers of a batch.
type BatchItems []BatchItem

// UnmarshalJSON reads at most maxBatchItems triggers and refuses more with a 422, so that a body of many empty ones takes
// little memory. It is as strict about each one as decode is.
func (b *BatchItems) UnmarshalJSON(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	start, err := decoder.Token()
	if err == nil && start == nil { // null
		return nil
	}
	if err != nil || start != json.Delim('[') {
		return badRequest("items must be a list of triggers")
	}
	for i := 0; decoder.More(); i++ {
		if i == maxBatchItems {
			return newInvalid("", field.ErrorList{field.TooMany(field.NewPath("items"), -1, maxBatchItems)})
		}
		var raw json.RawMessage
		if err := decoder.Decode(&raw); err != nil {
			return err
		}
		var item BatchItem
		if err := strictly(raw, &item); err != nil {
			return badRequest("items[%d] is not what this route takes: %v", i, err)
		}
		*b = append(*b, item)
	}
	return nil
}

// check returns a 422 that names the first item without a job.
func (b BatchItems) check() error {
	for i, item := range b {
		if item.JobName == "" {
			return newInvalid("", field.ErrorList{field.Required(field.NewPath("items").Index(i).Child("jobName"), validation.EmptyError())})
		}
	}
	return nil
}
