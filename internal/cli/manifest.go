// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// sources reads the files that the command line names.
type sources struct {
	stdin io.Reader
	// taken is the flag for which stdin was read.
	taken string
}

// read reads a file, or stdin if it is called "-".
func (s *sources) read(flag, file string) ([]byte, error) {
	if file != "-" {
		content, err := os.ReadFile(file) //nolint:gosec // the user names the file to be read
		if err != nil {
			return nil, usagef("--%s: %w", flag, err)
		}
		return content, nil
	}
	if s.taken != "" {
		return nil, usagef("--%s and --%s cannot both be read from stdin", s.taken, flag)
	}
	s.taken = flag
	content, err := io.ReadAll(s.stdin)
	if err != nil {
		return nil, fmt.Errorf("--%s: read stdin: %w", flag, err)
	}
	return content, nil
}

// parseManifest parses a JobRun, with or without its kind, or a bare spec.
func parseManifest(content []byte) (*v1alpha1.JobRun, error) {
	document, err := onlyDocument(content)
	if err != nil {
		return nil, err
	}
	var outline struct {
		metav1.TypeMeta `json:",inline"`
		Metadata, Spec  any
	}
	if err := yaml.Unmarshal(document, &outline); err != nil {
		return nil, err
	}
	run := &v1alpha1.JobRun{}
	switch {
	case outline.Kind != "" && outline.GroupVersionKind() != v1alpha1.GroupVersion.WithKind("JobRun"):
		return nil, fmt.Errorf("it holds a %s of %s, not a JobRun of %s", outline.Kind, outline.APIVersion, v1alpha1.GroupVersion)
	case outline.Kind != "" || outline.Spec != nil || outline.Metadata != nil:
		err = yaml.UnmarshalStrict(document, run)
	default:
		err = yaml.UnmarshalStrict(document, &run.Spec)
	}
	return run, err
}

// onlyDocument returns the one document of a file that is not empty.
func onlyDocument(content []byte) ([]byte, error) {
	var only []byte
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		var anything any
		if err := yaml.Unmarshal(document, &anything); err != nil {
			return nil, err
		}
		switch {
		case anything == nil:
		case only != nil:
			return nil, errors.New("it holds several documents, and one JobRun is triggered at a time")
		default:
			only = bytes.Clone(document)
		}
	}
	if only == nil {
		return nil, errors.New("it is empty")
	}
	return only, nil
}
