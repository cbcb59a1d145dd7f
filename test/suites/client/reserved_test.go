// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"errors"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cli"
	"github.com/jobrun-dev/jobrun/pkg/jobrun"
	"github.com/jobrun-dev/jobrun/test/harness/controlplane"
)

// forbidden is an option for JobRuns that a policy refuses after the webhook has admitted them.
var forbidden = jobrun.WithLabels(map[string]string{"forbidden": ""})

// reserveForNothing makes a key reserved for the run missing, which a policy refuses.
func reserveForNothing(key string) {
	GinkgoHelper()
	for _, o := range controlplane.RefusalPolicy(ns, "forbidden", ns) {
		Expect(k8s.Create(ctx, o)).To(Succeed())
		DeferCleanup(func() { Expect(k8s.Delete(ctx, o)).To(Succeed()) })
	}
	Eventually(func() error {
		_, err := runs.Trigger(ctx, worker(), forbidden, jobrun.DryRun())
		return err
	}).Should(WithTransform(apierrors.IsInvalid, BeTrue()))
	_, err := runs.Trigger(ctx, job(key), jobrun.WithName("missing"), forbidden)
	Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
}

// plugin runs kubectl jobrun in the namespace of the spec, and returns the exit code and what it printed.
func plugin(args ...string) (code int, stdout, stderr string) {
	out, errOut := gbytes.NewBuffer(), gbytes.NewBuffer()
	args = append([]string{args[0], "--kubeconfig=" + cp.AdminKubeconfig(), "--namespace=" + ns}, args[1:]...)
	code = cli.Main(ctx, args, cli.Options{
		Streams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: out, ErrOut: errOut},
	})
	return code, string(out.Contents()), string(errOut.Contents())
}

var _ = Describe("A key that is reserved for a run that does not exist", func() {
	It("is no conflict, and becomes free", func() {
		reserveForNothing("k")
		_, err := runs.Trigger(ctx, job("k"))
		var reserved *jobrun.ReservedError
		Expect(errors.As(err, &reserved)).To(BeTrue(), "%v", err)
		Expect(err).To(MatchError(jobrun.ErrReserved))
		Expect(err).NotTo(MatchError(jobrun.ErrConflict))
		Expect(reserved.Run).To(Equal("missing"))
		Expect(reserved.ReservedAt).To(BeTemporally("~", time.Now(), 30*time.Second))
		Expect(reserved.FreeBy).To(BeTemporally(">", reserved.ReservedAt))

		Eventually(func() error {
			_, err := runs.Trigger(ctx, job("k"))
			return err
		}).Should(Succeed())
	})

	It("refuses an item of a batch, and so the batch", func() {
		reserveForNothing("k")
		_, err := runs.BatchTrigger(ctx, []jobrun.BatchItem{
			{Spec: job("free"), Options: []jobrun.TriggerOption{jobrun.WithName("first")}}, {Spec: job("k")},
		})
		var item *jobrun.BatchItemError
		Expect(errors.As(err, &item)).To(BeTrue(), "%v", err)
		Expect(item.Index).To(Equal(1))
		Expect(err).To(MatchError(jobrun.ErrReserved))
		_, err = runs.Wait(ctx, "first")
		Expect(err).To(MatchError(jobrun.ErrCancelled))
	})

	It("makes the plugin wait for the key", func() {
		reserveForNothing("k")
		code, stdout, stderr := plugin("trigger", "sync", "--key=k", "--name=a")
		Expect(code).To(Equal(0), stderr)
		Expect(stdout).To(Equal("jobrun.batch.jobrun.dev/a created\n"))
		Expect(strings.Count(stderr, "The key is reserved for run missing, which does not exist")).To(Equal(1), stderr)
		Eventually(get("a")).Should(HaveField("Status.Phase", v1alpha1.PhasePending))
		code, _, stderr = plugin("trigger", "sync", "--key=k", "--name=b")
		Expect(code).To(Equal(3), stderr)
	})
})
