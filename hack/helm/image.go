// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
)

// reference is the name of an image: the registry, the repository, and a tag or a digest or both.
var reference = regexp.MustCompile(`^([^/@]+)/([^:@]+)(?::([^:/@]+))?(?:@(sha256:[0-9a-f]{64}))?$`)

// imageBlock is the group image in values.yaml. An empty line ends it.
var imageBlock = regexp.MustCompile(`(?ms)^image:\n.*?^$`)

// setImage makes an image the default of the chart. An empty name leaves the default of values.yaml.
func setImage(c *chart.Chart, image string) error {
	if image == "" {
		return nil
	}
	parts := reference.FindStringSubmatch(image)
	if parts == nil || parts[3] == "" && parts[4] == "" {
		return fmt.Errorf("-image %q: it must have a registry, a repository, and a tag or a digest, such as ghcr.io/jobrun-dev/jobrun:v1.2.3", image)
	}
	tag := parts[3]
	if tag == c.Metadata.AppVersion {
		tag = "" // that is the chart's default
	}
	i := slices.IndexFunc(c.Raw, func(f *chart.File) bool { return f.Name == chartutil.ValuesfileName })
	if i < 0 {
		return fmt.Errorf("the chart has no %s", chartutil.ValuesfileName)
	}
	text := c.Raw[i].Data
	for name, value := range map[string]string{"registry": parts[1], "repository": parts[2], "tag": tag, "digest": parts[4]} {
		var err error
		if text, err = setInImage(text, name, value); err != nil {
			return err
		}
	}
	values, err := chartutil.ReadValues(text)
	if err != nil {
		return fmt.Errorf("-image %q: %w", image, err)
	}
	c.Raw[i].Data, c.Values = text, values
	return nil
}

// setInImage sets a value of the group image in values.yaml, and leaves the comments.
func setInImage(text []byte, name, value string) ([]byte, error) {
	line := regexp.MustCompile(`(?m)^  ` + name + `: .*$`)
	block := imageBlock.Find(text)
	if len(line.FindAll(block, -1)) != 1 {
		return nil, fmt.Errorf("values.yaml has no image.%s", name)
	}
	changed := line.ReplaceAllLiteral(block, []byte("  "+name+": "+strconv.Quote(value)))
	return imageBlock.ReplaceAllLiteral(text, changed), nil
}
