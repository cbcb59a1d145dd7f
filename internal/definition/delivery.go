// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/cel-go/common/types/ref"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// Delivery is what a sender sent to a receiver, as expressions see it.
type Delivery struct {
	// text is the JSON of the body.
	text []byte
	// event is the field type of the body if it is a text.
	event         string
	body, headers ref.Val
}

// NewDelivery decodes the JSON of a body. headers have lower-case names. Those that IsWithheld names are left out. The caller must
// not change the text.
func NewDelivery(text []byte, headers map[string]string) (*Delivery, error) {
	var value any
	if err := utiljson.Unmarshal(text, &value); err != nil {
		return nil, fmt.Errorf("the body is not JSON: %w", err)
	}
	if hasLongName(value) {
		return nil, fmt.Errorf("the body has a field whose name has more than %d bytes", maxText)
	}
	d := &Delivery{text: text, body: sorted(value)}
	if object, ok := value.(map[string]any); ok {
		d.event, _ = object["type"].(string)
	}
	shown := make(map[string]string, len(headers))
	for name, value := range headers {
		if !IsWithheld(name) {
			shown[name] = strings.ToValidUTF8(value, "\uFFFD")
		}
	}
	d.headers = labelValues(shown)
	return d, nil
}

// hasLongName reports whether an object has a field whose name is too long for functions.
func hasLongName(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		for name, child := range value {
			if len(name) > maxText || hasLongName(child) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(value, hasLongName)
	}
	return false
}

// Type returns the field type of the body, or an empty text. A sender that follows Standard Webhooks names the event there.
func (d *Delivery) Type() string { return d.event }

// compactFrom is how many times larger than its limit a text may be to be compacted. One with more is too large in any case but a
// strange one.
const compactFrom = 4

// compact returns a JSON text without spaces, and false if it has more than limit bytes.
func compact(text []byte, limit int) ([]byte, bool) {
	if len(text) > compactFrom*limit {
		return nil, false
	}
	var short bytes.Buffer
	if err := json.Compact(&short, text); err != nil || short.Len() > limit {
		return nil, false
	}
	return short.Bytes(), true
}
