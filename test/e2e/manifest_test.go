// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	// job is the default jobName.
	job = "sync"
	// quick is a script that succeeds at once.
	quick = "exit 0"
	// busy is a script that runs until its Job is deleted.
	busy = "exec sleep 600"
)

// manifest builds a JobRun as a user writes it: run("a", quick).key("k").skip().
type manifest struct{ obj *v1alpha1.JobRun }

// run starts a run whose Job executes the shell script. The script may write its output to the file $result.
func run(name, script string) manifest {
	m := workerRun(name)
	m.obj.Spec.Template = &batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{
		BackoffLimit: new(int32(0)),
		Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: new(int64(1)),
			Containers: []corev1.Container{{
				Name:    "main",
				Image:   "busybox:1.37",
				Command: []string{"sh", "-c", "result=${JOBRUN_TERMINATION_LOG:-/dev/termination-log}\n" + script},
			}},
		}},
	}}
	return m
}

// workerRun starts a run that an external worker executes.
func workerRun(name string) manifest {
	return manifest{&v1alpha1.JobRun{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "JobRun"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.JobRunSpec{JobName: job},
	}}
}

func (m manifest) with(change func(*v1alpha1.JobRun)) manifest {
	change(m.obj)
	return m
}

func (m manifest) of(jobName string) manifest {
	return m.with(func(r *v1alpha1.JobRun) { r.Spec.JobName = jobName })
}

func (m manifest) key(key string) manifest {
	return m.with(func(r *v1alpha1.JobRun) { r.Spec.ConcurrencyKey = key })
}

func (m manifest) skip() manifest {
	return m.with(func(r *v1alpha1.JobRun) { r.Spec.Coalesce = v1alpha1.CoalesceSkip })
}

func (m manifest) delivery(key string) manifest {
	return m.with(func(r *v1alpha1.JobRun) { r.Spec.IdempotencyKey = key })
}

func (m manifest) input(json string) manifest {
	return m.with(func(r *v1alpha1.JobRun) { r.Spec.Input = &apiextensionsv1.JSON{Raw: []byte(json)} })
}

func (m manifest) ttl(seconds int32) manifest {
	return m.with(func(r *v1alpha1.JobRun) { r.Spec.TTLSecondsAfterFinished = &seconds })
}

func (m manifest) label(name, value string) manifest {
	return m.with(func(r *v1alpha1.JobRun) { metav1.SetMetaDataLabel(&r.ObjectMeta, name, value) })
}

// asYAML returns the manifests as one YAML file.
func asYAML(manifests ...manifest) string {
	GinkgoHelper()
	documents := make([]string, len(manifests))
	for i, m := range manifests {
		document, err := yaml.Marshal(m.obj)
		Expect(err).NotTo(HaveOccurred())
		documents[i] = string(document)
	}
	return strings.Join(documents, "---\n")
}

func (m manifest) in(namespace string) manifest {
	return m.with(func(r *v1alpha1.JobRun) { r.Namespace = namespace })
}
