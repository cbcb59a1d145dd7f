// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("A receipt", Ordered, func() {
	BeforeAll(func() {
		useNamespace()
		apply(run("first", busy).key("acme"))
		wait("first", "Leased")
		apply(run("next", quick).key("acme"))
		wait("next", "Pending")
	})

	managedFields := func(name string) string {
		GinkgoHelper()
		return kubectl("get", "jobrun", name, "--show-managed-fields", "-o", "jsonpath={.metadata.managedFields}")
	}

	DescribeTable("that was created has no managedFields, and later is", func(name string, command ...string) {
		receipt := func() manifest { return run(name, quick).key("acme").skip() }
		labelled := asYAML(receipt().label("team", "data"))
		succeeded(tryWith(asYAML(receipt()), "create", "-f", "-"))
		wait(name, "Coalesced")
		kubectl("annotate", "jobrun/"+name, "note=nightly")
		Expect(managedFields(name)).To(BeEmpty())

		succeeded(tryWith(labelled, command...))
		Expect(get(name).Labels).To(HaveKeyWithValue("team", "data"))
		before := versions()
		succeeded(tryWith(labelled, command...))
		Expect(versions()).To(Equal(before))
		succeeded(tryWith(asYAML(receipt()), command...))
		Expect(get(name).Labels).NotTo(HaveKey("team"))
		Expect(get(name).Spec.Admission.RunName).To(Equal("next"))
	},
		Entry("applied on the client", "client", "apply", "-f", "-"),
		Entry("applied on the server", "server", "apply", "--server-side", "-f", "-"),
		Entry("replaced", "replaced", "replace", "-f", "-"),
	)

	DescribeTable("that a tool applied keeps its managedFields", func(name string, command ...string) {
		succeeded(tryWith(asYAML(run(name, quick).key("acme").skip()), command...))
		wait(name, "Coalesced")
		Expect(managedFields(name)).To(ContainSubstring(`"f:jobName"`))
	},
		Entry("on the client", "by-client", "apply", "-f", "-"),
		Entry("on the server", "by-server", "apply", "--server-side", "-f", "-"),
	)
})
