// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Command chart generates what the Helm chart shares with the kustomizations in config/. It builds them with kustomize, and writes the
// objects as templates into charts/jobrun/templates. From hack/chart/values.yaml it writes the chart's values.yaml,
// values.schema.json and the table of values in its README. Only what kustomize does not have is written by hand: _helpers.tpl,
// NOTES.txt, and the templates without the first line "Generated".
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", ".", "The directory of the repository.")
	flag.Parse()
	if err := generate(*root); err != nil {
		fmt.Fprintln(os.Stderr, "generate the chart:", err)
		os.Exit(1)
	}
}

// generate writes the generated files of the chart.
func generate(root string) error {
	values, err := readValues(filepath.Join(root, "hack/chart/values.yaml"))
	if err != nil {
		return err
	}
	objects, err := buildAll(root)
	if err != nil {
		return err
	}
	if err := edit(&objects, values); err != nil {
		return err
	}
	chart := filepath.Join(root, "charts/jobrun")
	if err := writeTemplates(filepath.Join(chart, "templates"), objects); err != nil {
		return err
	}
	return writeValues(chart, values)
}
