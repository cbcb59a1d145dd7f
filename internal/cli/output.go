// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const wide = "wide"

// output is the flag -o.
type output struct {
	flags *genericclioptions.PrintFlags
	out   io.Writer
}

func (o *output) addTo(cmd *cobra.Command, out io.Writer) {
	o.flags, o.out = genericclioptions.NewPrintFlags(""), out
	o.flags.AddFlags(cmd)
	cmd.Flag("output").Usage = fmt.Sprintf("Output format. One of: (%s).", strings.Join(o.formats(), ", "))
	// The only possible error is a missing flag.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(o.formats(), cobra.ShellCompDirectiveNoFileComp))
}

func (o *output) formats() []string {
	formats := append(o.flags.AllowedFormats(), wide)
	slices.Sort(formats)
	return formats
}

// isForPeople reports whether the user asked for no format. With a format, stdout has only the object.
func (o *output) isForPeople() bool {
	template := o.flags.TemplatePrinterFlags.TemplateArgument
	return *o.flags.OutputFormat == "" && (template == nil || *template == "")
}

func (o *output) isWide() bool { return *o.flags.OutputFormat == wide }

// key returns a key as a table shows it: whole only with -o wide.
func (o *output) key(key string) string {
	if o.isWide() {
		return key
	}
	return shortKey(key)
}

// check refuses an unknown format before a request is sent.
func (o *output) check() error {
	if o.isForPeople() || o.isWide() {
		return nil
	}
	_, err := o.printer()
	return err
}

func (o *output) printer() (printers.ResourcePrinter, error) {
	printer, err := o.flags.ToPrinter()
	if genericclioptions.IsNoCompatiblePrinterError(err) {
		return nil, usagef("-o %s is not an output format: use one of %s", *o.flags.OutputFormat, strings.Join(o.formats(), ", "))
	}
	if err != nil {
		return nil, &usageError{err}
	}
	return printer, nil
}

// run prints a JobRun in the format of -o.
func (o *output) run(run *v1alpha1.JobRun) error {
	if o.isWide() {
		return table(o.out, jobRunTable(run, time.Now()), printers.PrintOptions{Wide: true})
	}
	return o.object(run)
}

// object prints an object in the format of -o, which is not wide.
func (o *output) object(object runtime.Object) error {
	printer, err := o.printer()
	if err != nil {
		return err
	}
	object = typed(object)
	if items, err := meta.ExtractList(object); err == nil && *o.flags.OutputFormat == "name" {
		for _, item := range items {
			if err := printer.PrintObj(item, o.out); err != nil {
				return err
			}
		}
		return nil
	}
	return printer.PrintObj(object, o.out)
}

func table(to io.Writer, table *metav1.Table, options printers.PrintOptions) error {
	return printers.NewTablePrinter(options).PrintObj(table, to)
}

// typed returns a copy of the object with its kind, which a typed client leaves out.
func typed(object runtime.Object) runtime.Object {
	object = object.DeepCopyObject()
	switch o := object.(type) {
	case *v1alpha1.JobRun:
		o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("JobRun"))
	case *v1alpha1.JobRunList:
		o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("JobRunList"))
		for i := range o.Items {
			o.Items[i].SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("JobRun"))
		}
	case *v1alpha1.JobDefinitionList:
		o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("JobDefinitionList"))
		for i := range o.Items {
			o.Items[i].SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("JobDefinition"))
		}
	case *v1alpha1.RunKeyList:
		o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("RunKeyList"))
		for i := range o.Items {
			o.Items[i].SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("RunKey"))
		}
	}
	return object
}

// qualified returns the name of a JobRun as kubectl prints it.
func qualified(name string) string {
	return "jobrun." + v1alpha1.GroupVersion.Group + "/" + name
}
