// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

func TestInputVariables(t *testing.T) {
	for name, tc := range map[string]struct {
		input string
		want  map[string]string
	}{
		"scalars": {
			input: `{"org":"acme","full":false,"count":12,"share":1.50,"big":9007199254740993,"empty":""}`,
			want: map[string]string{
				"JOBRUN_INPUT_ORG": "acme", "JOBRUN_INPUT_FULL": "false", "JOBRUN_INPUT_COUNT": "12", "JOBRUN_INPUT_SHARE": "1.50",
				"JOBRUN_INPUT_BIG": "9007199254740993", "JOBRUN_INPUT_EMPTY": "",
			},
		},
		"no scalars":                       {input: `{"list":[1],"object":{"a":1},"none":null}`},
		"names":                            {input: `{"user-name":"a","user.mail":"b","1st":"c"}`, want: map[string]string{"JOBRUN_INPUT_USER_NAME": "a", "JOBRUN_INPUT_USER_MAIL": "b", "JOBRUN_INPUT_1ST": "c"}},
		"colliding":                        {input: `{"a-b":"1","a.b":"2","A_B":"3","c":"4"}`, want: map[string]string{"JOBRUN_INPUT_C": "4"}},
		"colliding with what is no scalar": {input: `{"a-b":"1","a.b":[]}`},
		"illegal names":                    {input: `{"größe":1,"a b":2,"":3}`},
		"U+0000":                           {input: `{"a":"b\u0000c"}`},
		"no object":                        {input: `["a"]`},
		"no input":                         {},
	} {
		t.Run(name, func(t *testing.T) {
			var input *apiextensionsv1.JSON
			if tc.input != "" {
				input = &apiextensionsv1.JSON{Raw: []byte(tc.input)}
			}
			got := InputVariables(input)
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("variables (-want +got):\n%s", diff)
			}
		})
	}
}

// An input of 64 KiB has some 8,000 fields at most. Without a bound, each container of its Job would have 300 KiB of variables.
func TestInputVariablesAreBounded(t *testing.T) {
	fields := []string{`"a-a":1`, `"a.a":2`, `"aa":[]`}
	for i := range 5000 {
		fields = append(fields, fmt.Sprintf(`"f%04d":%d`, 4999-i, i))
	}
	got := InputVariables(&apiextensionsv1.JSON{Raw: []byte("{" + strings.Join(fields, ",") + "}")})
	if len(got) != MaxInputVariables || got["JOBRUN_INPUT_F0000"] != "4999" || got["JOBRUN_INPUT_F0255"] != "4744" {
		t.Errorf("%d variables: %v", len(got), got)
	}
}

func TestWithoutVariable(t *testing.T) {
	got := WithoutVariable([]string{"c", "a.b", "a-b", "A_B", "a b", "", "größe", "user-name"})
	if diff := cmp.Diff([]string{"", "A_B", "a b", "a-b", "a.b", "größe"}, got); diff != "" {
		t.Errorf("without a variable (-want +got):\n%s", diff)
	}
}
