// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package decoding

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/text"
)

const (
	// decodable bounds the levels of a list that JobRuns reads. Go's decoders refuse 10,000.
	decodable = 9000
	// pageSize bounds the memory of a search: a JobRun has up to 1.5 MiB.
	pageSize = 100
	// searchTimeout bounds the time of a search. The cache waits for it before it lists again.
	searchTimeout = time.Minute
)

// JobRuns returns a Finder of the first JobRun that cannot be decoded, in some namespaces or, if none is named, in all.
func JobRuns(config *rest.Config, namespaces ...string) (Finder, error) {
	config = rest.CopyConfig(config)
	config.APIPath, config.GroupVersion = "/apis", &v1alpha1.GroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
	api, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	return func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, searchTimeout)
		defer cancel()
		for _, namespace := range namespaces {
			if found, err := findIn(ctx, api, namespace); found != "" || err != nil {
				return found, err
			}
		}
		return "", nil
	}, nil
}

// findIn reads the JobRuns of a namespace, or of all, page by page.
func findIn(ctx context.Context, api rest.Interface, namespace string) (string, error) {
	for next := ""; ; {
		raw, err := api.Get().Namespace(namespace).Resource("jobruns").
			Param("limit", strconv.Itoa(pageSize)).Param("continue", next).Do(ctx).Raw()
		if err != nil {
			return "", err
		}
		list := &page{}
		if err := json.Unmarshal(text.CutLevels(raw, decodable), list); err != nil {
			return "", err
		}
		if found := list.undecodable(); found != "" || list.Metadata.Continue == "" {
			return found, nil
		}
		next = list.Metadata.Continue
	}
}

// page is a part of a list.
type page struct {
	Metadata metav1.ListMeta   `json:"metadata"`
	Items    []json.RawMessage `json:"items"`
}

// undecodable returns the first JobRun of a page that cannot be decoded, and why. An item has two levels less than its
// list.
func (p *page) undecodable() string {
	for _, item := range p.Items {
		err := json.Unmarshal(item, &v1alpha1.JobRun{})
		if levels := v1alpha1.Levels(item); levels >= decodable-2 {
			err = fmt.Errorf("it has %d levels of arrays and objects or more", levels)
		}
		if err != nil {
			return fmt.Sprintf("JobRun %s: %s", nameOf(item), err)
		}
	}
	return ""
}

func nameOf(item json.RawMessage) string {
	var object struct {
		Metadata struct {
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(item, &object); err != nil {
		return "without a name"
	}
	return object.Metadata.Namespace + "/" + object.Metadata.Name
}
