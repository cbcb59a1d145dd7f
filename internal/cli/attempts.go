// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// attempt is a lease of a run that expired. Only an Event of the operator tells of it. The API server keeps Events for an
// hour by default.
type attempt struct {
	generation int64
	holder     string
	expired    time.Time
}

// expiryNote is the note of the Event RunLeaseExpired.
var expiryNote = regexp.MustCompile(`^lease of (\S+), generation ([0-9]+), expired`)

// attemptsOf returns the expired leases of a run that its Events tell of, in order.
func attemptsOf(run *v1alpha1.JobRun, events []corev1.Event) []attempt {
	var all []attempt
	for i := range events {
		e := &events[i]
		found := expiryNote.FindStringSubmatch(e.Message)
		if e.Reason != "RunLeaseExpired" || e.InvolvedObject.UID != run.UID || found == nil {
			continue
		}
		if generation, err := strconv.ParseInt(found[2], 10, 64); err == nil {
			all = append(all, attempt{generation, found[1], happened(e)})
		}
	}
	slices.SortStableFunc(all, func(a, b attempt) int { return int(a.generation - b.generation) })
	return slices.CompactFunc(all, func(a, b attempt) bool { return a.generation == b.generation })
}

// podsLeft returns the number of Pods of a generation.
func podsLeft(pods []corev1.Pod, generation int64) int {
	left := 0
	for i := range pods {
		if pods[i].Annotations[v1alpha1.AnnotationGeneration] == strconv.FormatInt(generation, 10) {
			left++
		}
	}
	return left
}

// attempts prints the leases of a run that expired.
func (p *page) attempts(d *description) {
	known := attemptsOf(d.run, d.events)
	rows := make([][]string, 0, len(known))
	for _, a := range known {
		pods := "gone"
		if n := podsLeft(d.pods, a.generation); n > 0 {
			pods = strconv.Itoa(n)
		}
		if !d.run.RunsAsJob() || d.hidden["pods"] {
			pods = ""
		}
		rows = append(rows, []string{strconv.FormatInt(a.generation, 10), a.holder, p.ago(&metav1.Time{Time: a.expired}), pods})
	}
	if n := int(d.run.Status.Attempts) - len(known); n > 0 {
		rows = append([][]string{{"", "", fmt.Sprintf("%d earlier, whose Events are gone", n), ""}}, rows...)
	}
	p.section("Expired attempts", false, []string{"GENERATION", "HOLDER", "EXPIRED", "PODS"}, rows)
}

// goneText tells of the attempts of a run whose logs are gone with their Pods; empty if there is none.
func goneText(run *v1alpha1.JobRun, pods []corev1.Pod, events []corev1.Event, now time.Time) []string {
	var lines []string
	known := attemptsOf(run, events)
	for _, a := range known {
		if podsLeft(pods, a.generation) == 0 {
			lines = append(lines, fmt.Sprintf("generation %d of %s expired %s ago: its Pods are gone, and their logs with them",
				a.generation, a.holder, age(&metav1.Time{Time: a.expired}, now)))
		}
	}
	if n := int(run.Status.Attempts) - len(known); n > 0 {
		lines = append(lines, fmt.Sprintf("attempts that expired, and whose Events are gone: %d", n))
	}
	return lines
}
