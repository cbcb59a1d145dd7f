// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/runkey"
)

// receipt describes a receipt. If the page will not describe the run that stands for it, problem says why.
func (p *page) receipt(r *v1alpha1.JobRun, problem string) {
	p.trigger(r)
	stands := ""
	if r.Status.RunRef != nil {
		stands = r.Status.RunRef.Name
	} else if r.Spec.Admission != nil {
		stands = r.Spec.Admission.RunName
	}
	if problem != "" {
		stands = strings.TrimSpace(stands + " (" + problem + ")")
	}
	p.field("Stands for it", stands)
	p.field("Outcome", string(r.Outcome()))
	p.field("Skipped input", jsonText(r.Spec.Input))
	p.field("Output", jsonText(r.Status.Output))
	p.field("Error", r.Status.Error)
	p.field("Created", p.ago(&r.CreationTimestamp))
	p.field("Finished", p.ago(r.Status.CompletionTime))
}

// trigger describes the fields that a run and a receipt have in common.
func (p *page) trigger(r *v1alpha1.JobRun) {
	p.field("Name", r.Name)
	p.field("Namespace", r.Namespace)
	p.field("Labels", labelText(r.CallersLabels()))
	p.field("Job", r.Spec.JobName)
	p.field("Definition", definitionText(r))
	p.field("Key", r.Spec.ConcurrencyKey)
	p.field("Coalesce", string(r.Spec.Coalesce))
	p.field("Idempotency key", r.Spec.IdempotencyKey)
	p.field("Phase", cmp.Or(string(r.Status.Phase), "none yet"))
	if r.CancelRequested() && r.Outcome() == "" {
		p.field("Cancel", "asked for")
	}
}

// definitionText returns the definition that completed a trigger, and the generation of it that was executed last.
func definitionText(r *v1alpha1.JobRun) string {
	var parts []string
	if a := r.Spec.Admission; a != nil && a.Definition != nil {
		parts = append(parts, fmt.Sprintf("completed by generation %d", a.Definition.Generation))
	}
	if executed := r.Status.Definition; executed != nil {
		parts = append(parts, fmt.Sprintf("executed as of generation %d", executed.Generation))
	}
	return strings.Join(parts, ", ")
}

func (p *page) description(d *description) {
	r := d.run
	p.trigger(r)
	p.field("Input", jsonText(r.Spec.Input))
	p.field("Output", jsonText(r.Status.Output))
	if obstacle := obstacleOf(r); obstacle != "" {
		p.field("Does not get on", obstacle)
	} else {
		p.field("Error", r.Status.Error)
	}
	p.field("Progress", progressText(r.Status.Progress))
	p.field("Created", p.ago(&r.CreationTimestamp))
	p.field("Started", p.ago(r.Status.StartTime))
	p.field("Finished", p.ago(r.Status.CompletionTime))
	p.key(d)
	p.lease(r)
	p.attempts(d)
	p.receipts(d)
	p.job(d)
	p.pods(d)
	p.events(d)
}

// key prints the names of the runs that execute and wait for the run's key.
func (p *page) key(d *description) {
	if d.hidden["runkeys"] {
		p.field("Key used by", hiddenText)
		return
	}
	if d.key == nil {
		return
	}
	var users []string
	if l := d.key.Spec.Leased; l != nil {
		users = append(users, l.RunName+" "+d.leasedVerb())
	}
	if w := d.key.Spec.Pending; w != nil {
		users = append(users, w.RunName+" waits")
	}
	p.field("Key used by", strings.Join(users, ", "))
}

// leasedVerb says what the run does that the key leases. Of another run than the described one, it is not known whether a
// container has started.
func (d *description) leasedVerb() string {
	isIt := runkey.Leased(&d.key.Spec) == runkey.IdentityOf(d.run)
	works := func(pod corev1.Pod) bool { return leaseOf(&pod) == leaseIn(d.key) && hasStarted(&pod) }
	if isIt && d.run.RunsAsJob() && !d.hidden["pods"] && !slices.ContainsFunc(d.pods, works) {
		return "starts"
	}
	return "executes"
}

func (p *page) lease(r *v1alpha1.JobRun) {
	l := r.Status.Lease
	if l == nil {
		return
	}
	fmt.Fprintln(p.to, "Lease:")
	p.field("  Holder", cmp.Or(l.HolderIdentity, "none"))
	p.field("  Generation", strconv.FormatInt(l.Generation, 10))
	p.field("  Acquired", p.agoMicro(l.AcquireTime))
	p.field("  Renewed", p.agoMicro(l.RenewTime))
	switch {
	case l.DurationSeconds > 0:
		p.field("  Lasts", fmt.Sprintf("%s without renewal", time.Duration(l.DurationSeconds)*time.Second))
	case r.RunsAsJob():
		p.field("  Lasts", "as long as the Job")
	}
	most := cmp.Or(r.Spec.MaxAttempts, v1alpha1.DefaultMaxAttempts)
	p.field("  Expired", fmt.Sprintf("%d of %d attempts", r.Status.Attempts, most))
}

const hiddenText = "no permission to read"

// section prints a table if it has rows. If the user may not read it, section prints hiddenText instead.
func (p *page) section(heading string, hidden bool, names []string, rows [][]string) {
	switch {
	case hidden:
		p.field(heading, hiddenText)
	case len(rows) > 0:
		p.table(heading, names, rows)
	}
}

// latest is section for rows in the order of time. It prints the last ones, and how many there are besides. lost is the
// number of rows that are not known any more.
func (p *page) latest(heading string, hidden bool, names []string, rows [][]string, lost int64) {
	shown := rows
	if p.last > 0 {
		shown = rows[max(len(rows)-p.last, 0):]
	}
	p.section(heading, hidden, names, shown)
	if more := int64(len(rows)-len(shown)) + lost; more > 0 && !hidden {
		fmt.Fprintf(p.to, "  and %d more\n", more)
	}
}

func (p *page) receipts(d *description) {
	rows := make([][]string, 0, len(d.receipts))
	for _, r := range d.receipts {
		created := ""
		if r.created != nil {
			created = age(r.created, p.now)
		}
		rows = append(rows, []string{r.name, string(r.disposition), created, labelText(r.labels), r.input})
	}
	heading, lost := "Receipts", int64(0)
	if c := d.run.Status.Coalesced; c != nil {
		heading += fmt.Sprintf(" (%d absorbed)", c.Count)
		lost = max(c.Count-d.absorbed(), 0)
	}
	// Without the right to list receipts, rows still has those that the run's own status records.
	p.latest(heading, d.hidden["receipts"] && len(rows) == 0, []string{"NAME", "DISPOSITION", "AGE", "LABELS", "SKIPPED INPUT"}, rows, lost)
}

func (p *page) job(d *description) {
	switch {
	case d.hidden["jobs"]:
		p.field("Batch Job", hiddenText)
	case d.run.Status.JobRef == nil:
	case d.job == nil && d.run.Outcome() != "":
		p.field("Batch Job", d.run.Status.JobRef.Name+" (it is gone, as finished Jobs are after a while)")
	case d.job == nil:
		p.field("Batch Job", d.run.Status.JobRef.Name+" (it is gone)")
	default:
		p.table("Batch Job", []string{"NAME", "STATUS", "ACTIVE", "SUCCEEDED", "FAILED", "AGE"}, [][]string{jobRow(d.job, p)})
	}
}

func jobRow(job *batchv1.Job, p *page) []string {
	status := "Running"
	for _, c := range job.Status.Conditions {
		if c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed || c.Type == batchv1.JobSuspended) {
			status = string(c.Type)
		}
	}
	if job.DeletionTimestamp != nil {
		status = "Terminating"
	}
	s := job.Status
	return []string{job.Name, status, number(s.Active), number(s.Succeeded), number(s.Failed), age(&job.CreationTimestamp, p.now)}
}

func number(n int32) string { return strconv.Itoa(int(n)) }

func (p *page) pods(d *description) {
	rows := make([][]string, 0, len(d.pods))
	for i := range d.pods {
		pod, restarts := &d.pods[i], int32(0)
		for _, s := range pod.Status.ContainerStatuses {
			restarts += s.RestartCount
		}
		rows = append(rows, []string{
			pod.Name, string(pod.Status.Phase), pod.Annotations[v1alpha1.AnnotationGeneration],
			number(restarts), pod.Spec.NodeName, age(&pod.CreationTimestamp, p.now),
		})
	}
	p.section("Pods", d.hidden["pods"], []string{"NAME", "STATUS", "GENERATION", "RESTARTS", "NODE", "AGE"}, rows)
}

func (p *page) events(d *description) {
	rows := make([][]string, 0, len(d.events))
	for i := range d.events {
		e := &d.events[i]
		about := strings.ToLower(e.InvolvedObject.Kind) + "/" + e.InvolvedObject.Name
		message := e.Message
		if n := occurrences(e); n > 1 {
			message = fmt.Sprintf("(x%d since %s) %s", n, happened(e).UTC().Format(time.TimeOnly), message)
		}
		rows = append(rows, []string{lastHappened(e).UTC().Format(time.TimeOnly), e.Type, e.Reason, about, message})
	}
	p.latest("Events", d.hidden["events"], []string{"TIME", "TYPE", "REASON", "OBJECT", "MESSAGE"}, rows, 0)
}
