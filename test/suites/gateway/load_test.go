// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/gateway"
)

// attack sends triggers of the key k for two seconds, always so many at once, and returns how often each disposition was answered.
func attack(inFlight int) map[v1alpha1.Disposition]int64 {
	GinkgoHelper()
	attacker := vegeta.NewAttacker(
		vegeta.TLSConfig(&tls.Config{InsecureSkipVerify: true}), vegeta.HTTP2(false), vegeta.Timeout(patience),
		vegeta.Workers(uint64(inFlight)), vegeta.MaxWorkers(uint64(inFlight)), vegeta.Connections(inFlight),
	)
	target := vegeta.NewStaticTargeter(vegeta.Target{
		Method: http.MethodPost, URL: gate.url + strings.ReplaceAll(runs, "NS", ns), Body: []byte(`{"concurrencyKey":"k","coalesce":"Skip","input":{"org":"acme"}}`),
		Header: http.Header{"Authorization": {"Bearer " + editor}, "Content-Type": {"application/json"}},
	})
	answers := map[v1alpha1.Disposition]int64{}
	asFastAsPossible := vegeta.Rate{Per: time.Second}
	for result := range attacker.Attack(target, asFastAsPossible, 2*time.Second, "") {
		Expect(result.Code).To(Or(BeEquivalentTo(http.StatusOK), BeEquivalentTo(http.StatusCreated)), "%s: %s", result.Error, result.Body)
		var answer gateway.TriggerAnswer
		Expect(json.Unmarshal(result.Body, &answer)).To(Succeed())
		answers[answer.Disposition]++
	}
	return answers
}

var _ = Describe("a storm of triggers of one key", func() {
	for _, inFlight := range []int{64, 1024} {
		It("is answered as it is stored", func() {
			gate = startGateway(func(o *gateway.Options) { o.CallerInFlight, o.NamespaceInFlight = inFlight, inFlight })
			stop := comeAndGo()
			answers := attack(inFlight)
			stop()
			all := answers[v1alpha1.DispositionCreated] + answers[v1alpha1.DispositionCoalesced]
			Expect(answers).To(HaveLen(2))
			AddReportEntry("triggers", all)
			Eventually(counted).Should(Equal(all))
			var created int64
			for _, run := range jobRuns() {
				if run.Status.Phase != v1alpha1.PhaseCoalesced {
					created++
				}
			}
			Expect(created).To(Equal(answers[v1alpha1.DispositionCreated]))
		})
	}
})
