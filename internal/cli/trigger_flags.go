// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// triggerOptions describe a trigger. Flags that are set override the manifest.
type triggerOptions struct {
	*plugin
	answerOptions
	file        string
	name        string
	key         string
	idempotency idempotency
	coalesce    bool
	input       string
	labels      labels
	image       string
	ttl         time.Duration

	// request is the JobRun to create, from the manifest and the flags.
	request *v1alpha1.JobRun
}

func newTriggerOptions(p *plugin) *triggerOptions {
	return &triggerOptions{plugin: p, request: &v1alpha1.JobRun{}}
}

func (o *triggerOptions) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&o.file, "filename", "f", "", "File with a JobRun or a JobRun's spec, as YAML or JSON; - is stdin. The other flags override it.")
	flags.StringVar(&o.name, "name", "", "Name of the JobRun, at most 52 characters if a Job executes it. Default: JOB and ten random characters.")
	flags.StringVar(&o.key, "key", "", "The concurrencyKey: at most one run of JOB with this key executes, and at most one waits.")
	flags.BoolVar(&o.coalesce, "coalesce", false, "If a run waits for the key, let it absorb this trigger (coalesce: Skip). Needs a key, of the flag or of the definition.")
	o.idempotency.addTo(flags)
	flags.StringVar(&o.input, "input", "", "Input of the run: JSON, @FILE with JSON, or - for JSON from stdin. A definition says which fields it has.")
	o.labels.addTo(flags)
	flags.StringVar(&o.image, "image", "", "Image of the run's container. Without a template in a file, the Job has this one container and no retries.")
	flags.DurationVar(&o.ttl, "ttl", 0, "Time after which a JobRun that has ended is deleted, e.g. 24h. Default: the operator's --run-ttl.")
	o.answerOptions.addTo(cmd, o.Streams.Out)
}

// Complete makes the request.
func (o *triggerOptions) Complete(cmd *cobra.Command, args []string) (err error) {
	from := &sources{stdin: o.Streams.In}
	if o.file != "" {
		content, err := from.read("filename", o.file)
		if err != nil {
			return err
		}
		if o.request, err = parseManifest(content); err != nil {
			return usagef("--filename %s: %w", o.file, err)
		}
	}
	jobName, command := split(cmd, args)
	if jobName != "" {
		o.request.Spec.JobName = jobName
	}
	if err := o.override(cmd.Flags().Changed, from); err != nil {
		return err
	}
	return o.overrideTemplate(command)
}

// connected connects to the request's namespace: the command line's, else the manifest's, else that of the
// kubeconfig's context.
func (o *triggerOptions) connected() error {
	if err := o.plugin.connected(); err != nil {
		return err
	}
	if o.request.Namespace != "" && !o.insisted {
		o.cluster = o.in(o.request.Namespace)
	}
	return nil
}

// Validate checks what the API server cannot.
func (o *triggerOptions) Validate() error {
	if err := o.answerOptions.check(); err != nil {
		return err
	}
	switch namespace, insisted := o.request.Namespace, *o.config.Namespace; {
	case o.request.Spec.JobName == "":
		return usagef("which job? Name it (`trigger JOB`), or a file that does (-f)")
	case o.ttl < 0 || o.ttl%time.Second != 0:
		return usagef("--ttl %s: must be whole seconds, and not negative", o.ttl)
	case namespace != "" && insisted != "" && namespace != insisted:
		return usagef("the manifest's namespace %q is not %q, which --namespace names", namespace, insisted)
	}
	return errors.Join(o.idempotency.check(), o.labels.check())
}

// override sets the fields of the request whose flags are set.
func (o *triggerOptions) override(set func(string) bool, from *sources) (err error) {
	r := o.request
	if set("name") {
		r.Name = o.name
	}
	if set("key") {
		r.Spec.ConcurrencyKey = o.key
	}
	o.idempotency.override(set, &r.Spec)
	if set("coalesce") {
		r.Spec.Coalesce = ""
		if o.coalesce {
			r.Spec.Coalesce = v1alpha1.CoalesceSkip
		}
	}
	if set("ttl") {
		r.Spec.TTLSecondsAfterFinished = new(int32(o.ttl / time.Second))
	}
	r.Labels = o.labels.added(r.Labels)
	if set("input") {
		r.Spec.Input, err = parseJSON("input", o.input, from)
	}
	return err
}

// parseJSON returns the JSON value of a flag, from the command line, a file or stdin.
func parseJSON(flag, value string, from *sources) (*apiextensionsv1.JSON, error) {
	text, source := []byte(value), ""
	file, isFile := strings.CutPrefix(value, "@")
	if value == "-" {
		file, isFile = "-", true
	}
	if isFile {
		var err error
		if text, err = from.read(flag, file); err != nil {
			return nil, err
		}
		source = " " + value
	}
	if !json.Valid(text) {
		return nil, usagef("--%s%s is not JSON (a string needs its own quotes: --%[1]s '\"text\"')", flag, source)
	}
	return &apiextensionsv1.JSON{Raw: []byte(strings.TrimSpace(string(text)))}, nil
}

// labels is the flag --label.
type labels []string

func (l *labels) addTo(flags *pflag.FlagSet) {
	flags.StringArrayVar((*[]string)(l), "label", nil, "Label of the JobRun, as key=value. May be repeated.")
}

func (l labels) check() error {
	for _, flag := range l {
		if strings.Index(flag, "=") < 1 {
			return usagef("--label %s: write key=value", flag)
		}
	}
	return nil
}

// added returns other labels with these.
func (l labels) added(to map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, to)
	for _, flag := range l {
		key, value, _ := strings.Cut(flag, "=")
		all[key] = value
	}
	return all
}

// overrideTemplate makes a template of one container, or changes the first container of the manifest's template.
func (o *triggerOptions) overrideTemplate(command []string) error {
	if o.image == "" && len(command) == 0 {
		return nil
	}
	spec := &o.request.Spec
	if spec.Template == nil {
		if o.image == "" {
			return usagef("a command needs --image, or a template in the file")
		}
		spec.Template = oneContainer()
	}
	containers := spec.Template.Spec.Template.Spec.Containers
	if len(containers) == 0 {
		return usagef("the template in the file has no container to change")
	}
	if o.image != "" {
		containers[0].Image = o.image
	}
	if len(command) > 0 {
		containers[0].Command, containers[0].Args = command, nil
	}
	return nil
}

func oneContainer() *batchv1.JobTemplateSpec {
	return &batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{
		BackoffLimit: new(int32(0)),
		Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers:    []corev1.Container{{Name: "main"}},
		}},
	}}
}
