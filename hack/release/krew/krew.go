// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package krew fills the manifest by which krew installs the plugin.
package krew

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	checksum    = regexp.MustCompile(`@SHA256_([a-z0-9]+)_([a-z0-9]+)@`)
	placeholder = regexp.MustCompile(`@\w+@`)
	remark      = regexp.MustCompile(`(?m)^# A release .*\n`)
)

// Platforms returns the platforms that the manifest lists, as "linux/amd64", in its order.
func Platforms(manifest string) []string {
	var platforms []string
	for _, match := range checksum.FindAllStringSubmatch(manifest, -1) {
		platforms = append(platforms, match[1]+"/"+match[2])
	}
	return platforms
}

// Archive returns the file name of the plugin's archive for a platform.
func Archive(platform string) string {
	return "kubectl-jobrun_" + strings.ReplaceAll(platform, "/", "_") + ".tar.gz"
}

// Fill replaces the placeholders of the manifest. sums has the SHA-256 of the archive for each platform, in hex.
func Fill(manifest, version string, sums map[string]string) (string, error) {
	filled := strings.ReplaceAll(remark.ReplaceAllString(manifest, ""), "@VERSION@", version)
	for platform, sum := range sums {
		filled = strings.ReplaceAll(filled, "@SHA256_"+strings.ReplaceAll(platform, "/", "_")+"@", sum)
	}
	if left := placeholder.FindString(filled); left != "" {
		return "", fmt.Errorf("nothing fills %s in the krew manifest", left)
	}
	return filled, nil
}
