// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// tell tells the story. The demo fails if a step does not do what it says.
func (d *demo) tell(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		d.defined, d.created, d.waiting, d.coalesced, d.refused, d.completed, d.idempotent, d.leaseReleased, d.worked, d.recorded,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	d.say("That was the story: one run executed and one waited at any time, nothing was lost, and all of it is on record.")
	return nil
}

// defined defines a job, and triggers it with nothing but its name and an input.
func (d *demo) defined(ctx context.Context) error {
	d.say("1. Defined. A definition says once how the job sync-users runs. A trigger is then its name and an input: the definition\n" +
		"   gives the key org_acme, the template and the rest. The first run starts, and the second one waits for it.")
	if err := d.kubectl(ctx, "apply", "-f", "config/samples/sync-users.yaml"); err != nil {
		return err
	}
	if err := d.mayTrigger(ctx); err != nil {
		return err
	}
	for _, name := range []string{"sync-users-1", "sync-users-2"} {
		if err := d.jobrun(ctx, "trigger", "sync-users", "--input", `{"org":"acme"}`, "--name", name); err != nil {
			return err
		}
		if name == "sync-users-1" {
			if err := d.quietly(ctx, "wait", "--for=jsonpath={.status.phase}=Leased", "jobrun/"+name, "--timeout=30s"); err != nil {
				return err
			}
		}
	}
	if err := d.overHTTP(ctx); err != nil {
		return err
	}
	if err := d.shows(ctx, []string{"org_acme", `"org":"acme"`, `"full":false`},
		"get", "jobrun", "sync-users-2", "-o", "jsonpath={.spec.concurrencyKey} {.spec.input}{\"\\n\"}"); err != nil {
		return err
	}
	d.say("   An input that does not fit is refused, and every place is named.")
	if _, err := d.refuses(ctx, []string{"spec.input.full", "spec.input.org:", "spec.input.organisation"},
		"jobrun", "trigger", "sync-users", "--input", `{"organisation":"acme","full":"yes"}`); err != nil {
		return err
	}
	if err := d.kubectl(ctx, "wait", "--for=condition=Complete", "jobrun/sync-users-2", "--timeout=60s"); err != nil {
		return err
	}
	return d.shows(ctx, []string{"sync-users"}, "get", "jobdefinitions")
}

func (d *demo) created(ctx context.Context) error {
	d.say("2. Created. A trigger of a job that is not defined brings its own template. The key org_acme of job import-users is free:\n" +
		"   the run starts at once, as a Job.")
	if err := d.kubectl(ctx, "apply", "-f", "config/samples/sync-acme-1.yaml"); err != nil {
		return err
	}
	return d.quietly(ctx, "wait", "--for=jsonpath={.status.phase}=Leased", "jobrun/sync-acme-1", "--timeout=30s")
}

func (d *demo) waiting(ctx context.Context) error {
	d.say("3. Waiting. A second run of the same key waits until the first one ends.")
	if err := d.kubectl(ctx, "apply", "-f", "config/samples/sync-acme-2.yaml"); err != nil {
		return err
	}
	if err := d.quietly(ctx, "wait", "--for=jsonpath={.status.phase}=Pending", "jobrun/sync-acme-2", "--timeout=30s"); err != nil {
		return err
	}
	return d.shows(ctx, []string{"jobrun.batch.jobrun.dev/sync-acme-2", "runkey.batch.jobrun.dev/"}, "get", "jobruns,runkeys")
}

func (d *demo) coalesced(ctx context.Context) error {
	d.say("4. Coalesced. One already waits, and this trigger says `coalesce: Skip`: the waiting run absorbs it. Exit code 0.")
	return d.shows(ctx, []string{"jobrun sync-acme-3 coalesced: run sync-acme-2 already waits"}, "apply", "-f", "config/samples/sync-acme-3.yaml")
}

func (d *demo) refused(ctx context.Context) error {
	d.say("5. Refused. Without `coalesce`, a trigger that finds a run waiting is a conflict. The error names the waiting run.")
	code, err := d.refuses(ctx, []string{"(Conflict)", "run sync-acme-2 is pending"}, "apply", "-f", "config/samples/sync-acme-strict.yaml")
	if err == nil {
		fmt.Printf("(exit code %d)\n", code)
	}
	return err
}

func (d *demo) completed(ctx context.Context) error {
	d.say("6. Completed. Wait for your own JobRun, also if it is a receipt: it takes over the outcome of its run.")
	if err := d.kubectl(ctx, "wait", "--for=condition=Complete", "jobrun/sync-acme-3", "--timeout=60s"); err != nil {
		return err
	}
	if err := d.kubectl(ctx, "get", "jobruns"); err != nil {
		return err
	}
	return d.shows(ctx, []string{`sync-acme-2 -> {"synced":42}`}, "get", "jobrun", "sync-acme-3", "-o", "jsonpath={.status.runRef.name} -> {.status.output}{\"\\n\"}")
}

func (d *demo) idempotent(ctx context.Context) error {
	d.say("7. Idempotent. The same webhook is delivered twice, under two names: the second delivery starts nothing.")
	if err := d.kubectl(ctx, "apply", "-f", "config/samples/invoice-1.yaml"); err != nil {
		return err
	}
	return d.shows(ctx, []string{"jobrun invoice-2 starts nothing"}, "apply", "-f", "config/samples/invoice-2.yaml")
}

func (d *demo) leaseReleased(ctx context.Context) error {
	d.say("8. Lease released. The Job of a running run is deleted: its lease ends, and the run is executed again\n" +
		"   under a higher generation.")
	for _, args := range [][]string{
		{"apply", "-f", "config/samples/report-weekly.yaml"},
		{"wait", "--for=jsonpath={.status.phase}=Leased", "jobrun/report-weekly", "--timeout=30s"},
		{"delete", "job", "report-weekly-1"},
		{"wait", "--for=condition=Complete", "jobrun/report-weekly", "--timeout=60s"},
	} {
		if err := d.kubectl(ctx, args...); err != nil {
			return err
		}
	}
	return d.shows(ctx, []string{"Completed"}, "get", "jobrun", "report-weekly", "-o", "wide")
}

func (d *demo) recorded(ctx context.Context) error {
	d.say("10. Recorded. Events tell the story of each run, the skipped input included; status.coalesced keeps the count.")
	if err := d.events(ctx); err != nil {
		return err
	}
	d.say("The last release of a key deletes its row. Without idempotencyTTLSeconds, an idempotency key lasts as long as its run. The row of a run whose Job " +
		"was not seen to finish stays for a minute, and names that Job in spec.unconfirmed:")
	return d.shows(ctx, []string{"webhook-456"}, "get", "runkeys")
}

// events waits for the last event of the story, because events are written in the background. It prints the runs' events.
func (d *demo) events(ctx context.Context) error {
	args := []string{"events", "--types=Normal,Warning", "--for=jobrun/sync-acme-2"}
	for range 50 {
		output, err := d.cp.Kubectl(ctx, args...).Output()
		if err == nil && bytes.Contains(output, []byte("RunCompleted")) && bytes.Contains(output, []byte("RunCoalesced")) {
			break
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	if err := d.shows(ctx, []string{"RunCoalesced", `"requested":3`, "RunCompleted"}, args...); err != nil {
		return err
	}
	return d.shows(ctx, []string{"JobLost", "RunLeaseExpired", "RunCompleted"}, "events", "--for=jobrun/report-weekly")
}

// say prints what happens next.
func (d *demo) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if info, err := os.Stdout.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		text = "\x1b[1m" + text + "\x1b[0m" // bold on a terminal
	}
	fmt.Printf("\n%s\n", text)
}

// jobrun is kubectl for the plugin.
func (d *demo) jobrun(ctx context.Context, args ...string) error {
	return d.kubectl(ctx, append([]string{"jobrun"}, args...)...)
}

// withPlugins returns a kubectl command that finds the plugin.
func (d *demo) withPlugins(ctx context.Context, args ...string) *exec.Cmd {
	command := d.cp.Kubectl(ctx, args...)
	plugins := filepath.Join(d.root, "bin")
	command.Env = append(command.Environ(), "PATH="+plugins+string(os.PathListSeparator)+os.Getenv("PATH"))
	return command
}

// kubectl prints a kubectl command, runs it and prints its output.
func (d *demo) kubectl(ctx context.Context, args ...string) error {
	_, err := d.printed(ctx, args...)
	return err
}

// shows is kubectl, and fails if the output lacks one of the texts.
func (d *demo) shows(ctx context.Context, texts []string, args ...string) error {
	output, err := d.printed(ctx, args...)
	if err != nil {
		return err
	}
	return lacking(output, texts)
}

// refuses is kubectl for a command that the API server must refuse, with all of the texts. It returns the exit code.
func (d *demo) refuses(ctx context.Context, texts []string, args ...string) (int, error) {
	output, err := d.printed(ctx, args...)
	if err == nil {
		return 0, errors.New("the command above was not refused")
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0, err
	}
	return exit.ExitCode(), lacking(output, texts)
}

// lacking returns an error if an output lacks one of the texts.
func lacking(output string, texts []string) error {
	for _, text := range texts {
		if !strings.Contains(output, text) {
			return fmt.Errorf("the output above lacks %q", text)
		}
	}
	return nil
}

// printed is kubectl, and also returns the output.
func (d *demo) printed(ctx context.Context, args ...string) (string, error) {
	fmt.Println("$ kubectl " + quoted(args))
	output, err := d.withPlugins(ctx, args...).CombinedOutput()
	fmt.Print(string(output))
	if ctx.Err() != nil {
		return "", context.Canceled
	}
	return string(output), err
}

// quietly runs a kubectl command. It is shown only if it fails.
func (d *demo) quietly(ctx context.Context, args ...string) error {
	output, err := d.cp.Kubectl(ctx, args...).CombinedOutput()
	if ctx.Err() != nil {
		return context.Canceled
	}
	if err != nil {
		return fmt.Errorf("kubectl %s: %w\n%s", quoted(args), err, output)
	}
	return nil
}

func quoted(args []string) string {
	var words []string
	for _, arg := range args {
		if strings.ContainsAny(arg, " {}$\"") {
			arg = "'" + arg + "'"
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Canceled
	case <-time.After(d):
		return nil
	}
}
