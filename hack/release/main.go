// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Command release makes the operator's image and the other files of a release, without a container runtime. `make image`,
// `make image-push`, `make build-plugin` and `make release` call it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// settings are the flags. Each command uses some of them.
type settings struct {
	root      string
	dist      string
	version   string
	image     string
	platforms string
}

// command is one step of a release. It writes its result to out and what it does to progress.
type command struct {
	name, help string
	run        func(ctx context.Context, s settings, out, progress io.Writer) error
}

var commands = []command{
	{"check", "check that the tree can be released as -version, and that -dist is empty", runCheck},
	{"image", "write the image for -platforms to -dist, and print its name with its digest", runImage},
	{"push", "push the image in -dist to -image, and print its name with its digest", runPush},
	{"plugin", "write the archives of the kubectl plugin and its krew manifest to -dist", runPlugin},
	{"notes", "write the section of CHANGELOG.md for -version to -dist", runNotes},
	{"sums", "write SHA256SUMS of all files in -dist", runSums},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	var s settings
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	flags.SetOutput(progress)
	flags.StringVar(&s.root, "root", ".", "the `directory` of the repository")
	flags.StringVar(&s.dist, "dist", "dist", "the `directory` to write to")
	flags.StringVar(&s.version, "version", "", "the `version`, such as v1.2.3")
	flags.StringVar(&s.image, "image", "", "the `name` of the image, such as registry.example.com/jobrun:v1.2.3")
	flags.StringVar(&s.platforms, "platforms", "linux/amd64,linux/arm64", "the platforms of the image, as a `list` with commas")
	flags.Usage = func() {
		fmt.Fprintln(progress, "usage: release COMMAND [flags]")
		for _, c := range commands {
			fmt.Fprintf(progress, "  %-7s %s\n", c.name, c.help)
		}
		flags.PrintDefaults()
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		flags.Usage()
		return errors.Join(flags.Parse(args), errors.New("name a command first"))
	}
	i := slices.IndexFunc(commands, func(c command) bool { return c.name == args[0] })
	if i < 0 {
		return fmt.Errorf("unknown command %q", args[0])
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return commands[i].run(ctx, s, out, progress)
}

// write writes a file into the directory -dist.
func (s settings) write(file string, content []byte, progress io.Writer) error {
	if err := os.MkdirAll(s.dist, 0o755); err != nil {
		return err
	}
	path := filepath.Join(s.dist, file)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return err
	}
	fmt.Fprintln(progress, "wrote", path)
	return nil
}

// read returns a file of the repository.
func (s settings) read(elem ...string) ([]byte, error) {
	return os.ReadFile(filepath.Join(append([]string{s.root}, elem...)...))
}
