// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

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

func newOutput(cmd *cobra.Command, out io.Writer) *output {
	o := &output{flags: genericclioptions.NewPrintFlags(""), out: out}
	o.flags.AddFlags(cmd)
	cmd.Flag("output").Usage = fmt.Sprintf("Output format. One of: (%s).", strings.Join(o.formats(), ", "))
	// Only a flag without a completion can have an error here.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(o.formats(), cobra.ShellCompDirectiveNoFileComp))
	return o
}

func (o *output) formats() []string {
	formats := append(o.flags.AllowedFormats(), wide)
	slices.Sort(formats)
	return formats
}

// isFor people, or for a program, which finds nothing but the object on stdout.
func (o *output) isForPeople() bool {
	template := o.flags.TemplatePrinterFlags.TemplateArgument
	return *o.flags.OutputFormat == "" && (template == nil || *template == "")
}

func (o *output) isWide() bool { return *o.flags.OutputFormat == wide }

// check refuses a format before anything is done that it would not show.
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
		return nil, usagef("-o %s is none of the output formats %s", *o.flags.OutputFormat, strings.Join(o.formats(), ", "))
	}
	if err != nil {
		return nil, &usageError{err}
	}
	return printer, nil
}

// object prints an object in the format asked for, or its table with -o wide.
func (o *output) object(object runtime.Object, table func() *metav1.Table) error {
	if o.isWide() {
		return o.table(table(), printers.PrintOptions{Wide: true})
	}
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

func (o *output) table(table *metav1.Table, options printers.PrintOptions) error {
	return printers.NewTablePrinter(options).PrintObj(table, o.out)
}

// typed is the object with its kind, which a typed client leaves out.
func typed(object runtime.Object) runtime.Object {
	object = object.DeepCopyObject()
	switch o := object.(type) {
	case *v1alpha1.JobRun:
		o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("JobRun"))
	case *v1alpha1.RunKeyList:
		o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("RunKeyList"))
		for i := range o.Items {
			o.Items[i].SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("RunKey"))
		}
	}
	return object
}

// qualified is how kubectl names a JobRun.
func qualified(name string) string {
	return "jobrun." + v1alpha1.GroupVersion.Group + "/" + name
}
