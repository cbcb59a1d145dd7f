// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/pflag"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// triggerFlags say what to trigger. Those that are set override the manifest.
type triggerFlags struct {
	set func(name string) bool

	file           string
	name           string
	key            string
	idempotencyKey string
	coalesce       bool
	input          string
	labels         []string
	image          string
	ttl            time.Duration
}

func (f *triggerFlags) add(flags *pflag.FlagSet) {
	f.set = flags.Changed
	flags.StringVarP(&f.file, "filename", "f", "", "File with a JobRun or a JobRun's spec, as YAML or JSON; - is stdin. The other flags override it.")
	flags.StringVar(&f.name, "name", "", "Name of the JobRun. Without it: JOB, and ten random characters.")
	flags.StringVar(&f.key, "key", "", "The concurrencyKey: at most one run of JOB with this key executes, and at most one waits.")
	flags.BoolVar(&f.coalesce, "coalesce", false, "If a run waits for the key, let it absorb this trigger (coalesce: Skip) rather than be refused. Needs a key.")
	flags.StringVar(&f.idempotencyKey, "idempotency-key", "", "Identifies this trigger: delivered again with the same key, it starts nothing.")
	flags.StringVar(&f.input, "input", "", "Input of the run: JSON, or @FILE or - for stdin with JSON in it.")
	addLabels(flags, &f.labels)
	flags.StringVar(&f.image, "image", "", "Image of the run's container. Without a template in a file, the Job has this one container and no retries.")
	flags.DurationVar(&f.ttl, "ttl", 0, "Delete the JobRun this long after its end, e.g. 24h. Without it, it is kept.")
}

func addLabels(flags *pflag.FlagSet, labels *[]string) {
	flags.StringArrayVar(labels, "label", nil, "Label of the JobRun, as key=value. May be repeated.")
}

// request is what the manifest and the flags ask for. command is what follows "--".
func (f *triggerFlags) request(jobName string, command []string, from *sources) (*request, error) {
	r := &request{}
	if f.file != "" {
		content, err := from.read("filename", f.file)
		if err != nil {
			return nil, err
		}
		if r, err = parseManifest(content); err != nil {
			return nil, usagef("--filename %s: %w", f.file, err)
		}
	}
	if jobName != "" {
		r.spec.JobName = jobName
	}
	if r.spec.JobName == "" {
		return nil, usagef("which job? Name it (`trigger JOB`), or a file that does (-f)")
	}
	if err := f.override(r, from); err != nil {
		return nil, err
	}
	return r, f.overrideTemplate(&r.spec, command)
}

func (f *triggerFlags) override(r *request, from *sources) error {
	if f.set("name") {
		r.name = f.name
	}
	if f.set("key") {
		r.spec.ConcurrencyKey = f.key
	}
	if f.set("idempotency-key") {
		r.spec.IdempotencyKey = f.idempotencyKey
	}
	if f.set("coalesce") {
		r.spec.Coalesce = ""
		if f.coalesce {
			r.spec.Coalesce = v1alpha1.CoalesceSkip
		}
	}
	if f.set("ttl") {
		if f.ttl < 0 || f.ttl%time.Second != 0 {
			return usagef("--ttl %s: not a number of whole seconds", f.ttl)
		}
		r.spec.TTLSecondsAfterFinished = new(int32(f.ttl / time.Second))
	}
	if f.set("input") {
		input, err := parseJSON("input", f.input, from)
		if err != nil {
			return err
		}
		r.spec.Input = input
	}
	labels, err := parseLabels(f.labels)
	r.labels = merged(r.labels, labels)
	return err
}

// parseJSON takes JSON, or where it is.
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
		return nil, usagef("--%s%s is no JSON (a string needs its own quotes: --%[1]s '\"text\"')", flag, source)
	}
	return &apiextensionsv1.JSON{Raw: []byte(strings.TrimSpace(string(text)))}, nil
}

func parseLabels(flags []string) (map[string]string, error) {
	labels := make(map[string]string, len(flags))
	for _, flag := range flags {
		key, value, ok := strings.Cut(flag, "=")
		if !ok || key == "" {
			return nil, usagef("--label %s: write key=value", flag)
		}
		labels[key] = value
	}
	return labels, nil
}

// overrideTemplate makes a template of one container, or changes the first one of
// the template that there is.
func (f *triggerFlags) overrideTemplate(spec *v1alpha1.JobRunSpec, command []string) error {
	if f.image == "" && len(command) == 0 {
		return nil
	}
	if spec.Template == nil {
		if f.image == "" {
			return usagef("a command needs --image, or a template in the file")
		}
		spec.Template = oneContainer()
	}
	containers := spec.Template.Spec.Template.Spec.Containers
	if len(containers) == 0 {
		return usagef("the template in the file has no container to change")
	}
	if f.image != "" {
		containers[0].Image = f.image
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

func merged(under, over map[string]string) map[string]string {
	all := make(map[string]string, len(under)+len(over))
	for _, labels := range []map[string]string{under, over} {
		for key, value := range labels {
			all[key] = value
		}
	}
	return all
}
