// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Command helm packages the Helm chart, by Helm's own library: dist/jobrun-<version>.tgz. The tests beside it render and install the
// chart. This is a module of its own, because Helm's library has hundreds of dependencies.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/lint/support"
)

func main() {
	dir := flag.String("chart", "../../charts/jobrun", "The `directory` of the chart.")
	version := flag.String("version", "", "The version of the release, for example v0.2.0. The chart gets it without the v, and the image with it.")
	image := flag.String("image", "", "The `name` of the image, with its digest if it has one. It becomes the default of the packaged chart.")
	date := flag.Int64("date", 0, "The date of the files in the archive, in `seconds` since 1970.")
	destination := flag.String("destination", "../../dist", "The `directory` to write to.")
	flag.Parse()
	file, err := pack(*dir, *version, *image, time.Unix(*date, 0), *destination)
	if err != nil {
		fmt.Fprintln(os.Stderr, "package the chart:", err)
		os.Exit(1)
	}
	fmt.Println("wrote", file)
}

// pack checks the chart and writes its archive. It returns the path of the archive.
func pack(dir, version, image string, date time.Time, destination string) (string, error) {
	if err := lint(dir); err != nil {
		return "", err
	}
	c, err := loader.LoadDir(dir)
	if err != nil {
		return "", err
	}
	if err := setVersion(c, version); err != nil {
		return "", err
	}
	if err := setImage(c, image); err != nil {
		return "", err
	}
	if err := os.MkdirAll(destination, 0o755); err != nil {
		return "", err
	}
	file, err := chartutil.Save(c, destination)
	if err != nil {
		return "", err
	}
	if err := setDates(file, date); err != nil {
		return "", err
	}
	return filepath.Abs(file)
}

// setVersion sets the versions of the chart and of its image. An empty version leaves those of Chart.yaml.
func setVersion(c *chart.Chart, version string) error {
	if version == "" {
		return nil
	}
	c.Metadata.Version, c.Metadata.AppVersion = strings.TrimPrefix(version, "v"), version
	if err := c.Validate(); err != nil {
		return fmt.Errorf("-version %q: %w", version, err)
	}
	return nil
}

// lint returns what Helm's linter finds, but what is for information only.
func lint(dir string) error {
	linter := action.NewLint()
	linter.Strict = true
	result := linter.Run([]string{dir}, nil)
	errs := result.Errors
	for _, message := range result.Messages {
		if message.Severity >= support.WarningSev {
			errs = append(errs, message)
		}
	}
	return errors.Join(errs...)
}
