// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/internal/gateway/group"
)

// LineAnswer is the answer to one line of a stream of triggers.
type LineAnswer struct {
	Line   int            `json:"line" doc:"The number of the line that this answers, from 1. Empty lines count, but have no answer."`
	Code   int            `json:"code" doc:"The code that the trigger alone would have been answered with."`
	Answer *TriggerAnswer `json:"answer,omitempty" doc:"What became of the trigger, with the codes 200 and 201."`
	Status *metav1.Status `json:"status,omitempty" doc:"Why there is no trigger, with all other codes. With 504, there may be one."`
}

// answeredLine is a line and what became of its trigger, or why there is none.
type answeredLine struct {
	number    int
	triggered group.Answer
	err       error
}

// lineText encodes the LineAnswers of one stream. Lines of one key share JobRuns, and the triggers that share one have the same
// answer, so it keeps the latest.
type lineText struct {
	latest group.Answer
	text   []byte // of the TriggerAnswer
	line   []byte
}

// encode returns the LineAnswer of a line, and the end of the line. It is valid until the next call.
func (t *lineText) encode(line answeredLine) (text []byte, err error) {
	if line.err != nil {
		status := statusOf(line.err)
		text, err := json.Marshal(LineAnswer{Line: line.number, Code: int(status.Code), Status: &status})
		return append(text, '\n'), err
	}
	if line.triggered.JobRun != t.latest.JobRun || line.triggered.Disposition != t.latest.Disposition {
		if t.text, err = json.Marshal(answerOf(line.triggered)); err != nil {
			return nil, err
		}
		t.latest = line.triggered
	}
	t.line = fmt.Appendf(t.line[:0], `{"line":%d,"code":%d,"answer":%s}`+"\n", line.number, codeOf(line.triggered.Disposition), t.text)
	return t.line, nil
}
