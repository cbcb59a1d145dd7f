// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/internal/convert"
)

type convertOptions struct {
	*plugin
	files []string

	objects []*unstructured.Unstructured
}

func newConvert(p *plugin) *cobra.Command {
	o := &convertOptions{plugin: p}
	cmd := &cobra.Command{
		Use:   "convert -f FILE",
		Short: "Write the JobDefinition of a CronJob",
		Long: `Write the JobDefinition of each CronJob in a file, as YAML, to stdout. Nothing is sent to a
cluster. The file may hold several documents, and lists as kubectl get prints them. What
is no CronJob is left out. The definition has the CronJob's name, which is the name to
trigger the job by, and one schedule, cron.

concurrencyPolicy Allow   runs have no key and may overlap
concurrencyPolicy Forbid  all runs have one key, so they never overlap. A CronJob drops
                          the tick that comes while a Job executes. Here that tick waits
                          and executes next, and absorbs the ticks that come after it
concurrencyPolicy Replace cannot be converted: a run that executes is never ended for a
                          later one

The history limits become those of runs: 3 and 1 if the CronJob does not set them. A time
zone in the schedule (TZ=) becomes the timeZone. Without one, the schedule is in UTC, and
a CronJob's is in the zone of the kube-controller-manager, which mostly is UTC, too.
A schedule that never fires is left out.

What a definition does otherwise is a note on stderr. What it cannot take over is an error
on stderr with the path of the field: then that CronJob has no definition on stdout, and
the exit code is 1.

After you have applied the definition, delete the CronJob: until then both trigger.`,
		Example: `  # Read it, then apply it, then delete the CronJob
  kubectl get cronjob nightly -o yaml | kubectl jobrun convert -f - > nightly.yaml
  kubectl apply --server-side -f nightly.yaml && kubectl delete cronjob nightly

  # All CronJobs of a chart
  helm template my-release my-chart | kubectl jobrun convert -f -`,
		DisableFlagsInUseLine: true,
		Args:                  arguments(cobra.NoArgs),
		ValidArgsFunction:     cobra.NoFileCompletions,
		RunE:                  runE(o),
	}
	cmd.Flags().StringArrayVarP(&o.files, "filename", "f", nil, "File with CronJobs, as YAML or JSON; - is stdin. May be repeated. Required.")
	return cmd
}

// Complete reads the files.
func (o *convertOptions) Complete(*cobra.Command, []string) error {
	from := &sources{stdin: o.Streams.In}
	for _, file := range o.files {
		content, err := from.read("filename", file)
		if err != nil {
			return err
		}
		objects, err := parseObjects(content)
		if err != nil {
			return usagef("--filename %s: %w", file, err)
		}
		o.objects = append(o.objects, objects...)
	}
	return nil
}

func (o *convertOptions) Validate() error {
	if len(o.files) == 0 {
		return usagef("which CronJob? Name its file with -f, or - for stdin")
	}
	for _, object := range o.objects {
		if convert.IsCronJob(object) {
			return nil
		}
	}
	return usagef("--filename: there is no CronJob of batch/v1 to convert")
}

// connected connects to nothing.
func (o *convertOptions) connected() error { return nil }

func (o *convertOptions) Run(context.Context) error {
	total, failed := 0, 0
	for _, object := range o.objects {
		if !convert.IsCronJob(object) {
			fmt.Fprintf(o.Streams.ErrOut, "note: %s %s is no CronJob and is left out\n", object.GetKind(), object.GetName())
			continue
		}
		total++
		result := convert.CronJob(object)
		o.tell("note", object, result.Notes)
		o.tell("error", object, result.Problems)
		if result.Definition == nil {
			failed++
			continue
		}
		if err := o.write(result.Definition, total-failed > 1); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d CronJobs cannot be converted", failed, total)
	}
	return nil
}

func (o *convertOptions) tell(kind string, about *unstructured.Unstructured, findings []convert.Finding) {
	for _, f := range findings {
		fmt.Fprintf(o.Streams.ErrOut, "%s: CronJob %s: %s: %s\n", kind, oneLine(about.GetName()), oneLine(f.Field), oneLine(f.Message))
	}
}

func (o *convertOptions) write(definition *unstructured.Unstructured, follows bool) error {
	text, err := yaml.Marshal(definition.Object)
	if err != nil {
		return err
	}
	if follows {
		text = append([]byte("---\n"), text...)
	}
	_, err = o.Streams.Out.Write(text)
	return err
}

// parseObjects returns the objects of all documents. The items of a list count as objects.
func parseObjects(content []byte) (objects []*unstructured.Unstructured, err error) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for number := 1; ; number++ {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		found, err := parseDocument(document)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", number, err)
		}
		objects = append(objects, found...)
	}
}

func parseDocument(document []byte) ([]*unstructured.Unstructured, error) {
	text, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(text, []byte("null")) {
		return nil, nil
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(text); err != nil {
		return nil, err
	}
	if !object.IsList() {
		return []*unstructured.Unstructured{object}, nil
	}
	var items []*unstructured.Unstructured
	err = object.EachListItem(func(item runtime.Object) error {
		items = append(items, item.(*unstructured.Unstructured))
		return nil
	})
	return items, err
}
