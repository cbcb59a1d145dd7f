// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"mvdan.cc/sh/v3/syntax"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/cli"
	"github.com/jobrun-dev/jobrun/internal/testing/checkout"
)

// checks has what is checked of a block of each language. Go is compiled by TestSnippetsCompile, and the JavaScript of
// docs/gateway.md runs in test/suites/streams. A text is output.
var checks = map[string]func(text string) error{
	"go":      func(string) error { return nil },
	"js":      func(string) error { return nil },
	"text":    func(string) error { return nil },
	"json":    checkJSON,
	"yaml":    checkYAML,
	"sh":      checkShell,
	"console": func(text string) error { return checkShell(typedIn(text)) },
}

// TestBlocksAreRight checks the blocks of code in all documents: YAML has known fields only, JSON and shell can be parsed, each
// command of the plugin has the flags that are used, and each target of make exists. Other tests execute many of the blocks.
func TestBlocksAreRight(t *testing.T) {
	for _, document := range documentNames(t) {
		for _, block := range blocks(read(t, document)) {
			check, known := checks[block.language]
			if !known {
				t.Errorf("%s: no check for a block of %q:\n%s", document, block.language, block.text)
				continue
			}
			if err := check(block.text); err != nil {
				t.Errorf("%s: %v:\n%s", document, err, block.text)
			}
		}
	}
}

func TestWrongBlocksAreRefused(t *testing.T) {
	for _, wrong := range []codeBlockOf{
		{"json", `{"a": }`},
		{"yaml", "apiVersion: batch.jobrun.dev/v1alpha1\nkind: JobRun\nspec: {jobName: a, concurencyKey: b}\n"},
		{"yaml", "apiVersion: batch/v1\nkind: CronJob\nspec: {shedule: '* * * * *'}\n"},
		{"yaml", "apiVersion: example.com/v1\nkind: Unknown\n"},
		{"yaml", "a: [\n"},
		{"sh", "if true; then\n"},
		{"sh", "kubectl jobrun triger sync-users\n"},
		{"sh", "echo x | kubectl -n team-a jobrun trigger sync-users --inptu 1\n"},
		{"sh", "make no-such-target\n"},
		{"sh", "kubectl apply -k config/no-such-directory\n"},
		{"console", "$ kubectl jobrun wait --no-such-flag\noutput (\n"},
	} {
		if checks[wrong.language](wrong.text) == nil {
			t.Errorf("accepts this block of %s:\n%s", wrong.language, wrong.text)
		}
	}
	if err := checks["console"]("$ echo \\\n    a\nan output (with a bracket\n"); err != nil {
		t.Error("takes output for a command: ", err)
	}
}

type codeBlockOf struct{ language, text string }

var fence = regexp.MustCompile("(?ms)^( *)```(\\w*)\n(.*?)^ *```[ \t]*$")

// blocks returns the blocks of code of a document.
func blocks(text string) []codeBlockOf {
	var found []codeBlockOf
	for _, match := range fence.FindAllStringSubmatch(text, -1) {
		found = append(found, codeBlockOf{match[2], strings.ReplaceAll("\n"+match[3], "\n"+match[1], "\n")[1:]})
	}
	return found
}

// checkJSON accepts one value, or one in each line.
func checkJSON(text string) error {
	for decoder := json.NewDecoder(strings.NewReader(text)); ; {
		var value any
		if err := decoder.Decode(&value); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// foreign are the API groups of other projects' objects in the documents, of which only the syntax is checked.
var foreign = []string{
	"kustomize.config.k8s.io", "kustomize.toolkit.fluxcd.io", "helm.toolkit.fluxcd.io", "keda.sh", "kueue.x-k8s.io", "argoproj.io",
	"gateway.networking.k8s.io", "monitoring.coreos.com", "cert-manager.io",
}

func checkYAML(text string) error {
	for reader := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text))); ; {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var value any
		if err := yaml.Unmarshal(document, &value); err != nil {
			return err
		}
		if err := checkObject(withoutDots(value)); err != nil {
			return err
		}
	}
}

// withoutDots leaves out the fields whose value is "...", which stands for what a document does not show.
func withoutDots(value any) any {
	switch value := value.(type) {
	case map[string]any:
		maps.DeleteFunc(value, func(_ string, field any) bool { return field == "..." })
		for _, field := range value {
			withoutDots(field)
		}
	case []any:
		for _, item := range value {
			withoutDots(item)
		}
	}
	return value
}

// checkObject decodes an object of a Kubernetes API strictly. Other YAML, as a part of an object, is accepted.
func checkObject(value any) error {
	fields, _ := value.(map[string]any)
	apiVersion, _ := fields["apiVersion"].(string)
	kind, _ := fields["kind"].(string)
	if apiVersion == "" || kind == "" || slices.Contains(foreign, schema.FromAPIVersionAndKind(apiVersion, kind).Group) {
		return nil
	}
	object, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, _, err = strict.Decode(object, nil, nil)
	return err
}

var strict = func() runtime.Decoder {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}()

// typedIn returns the commands of a session in a terminal: the lines after a "$ ", with those that a backslash or an open
// bracket continues.
func typedIn(session string) string {
	var commands []string
	typed := false
	for line := range strings.Lines(session) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case isCommand:
			commands = append(commands, command)
		case typed:
			commands[len(commands)-1] += line
		default:
			continue
		}
		last := commands[len(commands)-1]
		_, err := parse(last)
		typed = strings.HasSuffix(last, "\\\n") || syntax.IsIncomplete(err)
	}
	return strings.Join(commands, "")
}

func parse(script string) (*syntax.File, error) {
	return syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(script), "")
}

// checkShell parses a script, and checks its commands.
func checkShell(script string) error {
	file, err := parse(script)
	if err != nil {
		return err
	}
	var problems []error
	syntax.Walk(file, func(node syntax.Node) bool {
		if call, isCall := node.(*syntax.CallExpr); isCall {
			problems = append(problems, checkCommand(words(call)))
		}
		return true
	})
	return errors.Join(problems...)
}

// words returns the words of a command. A variable stands for itself.
func words(call *syntax.CallExpr) []string {
	var found []string
	for _, word := range call.Args {
		text := word.Lit()
		if text == "" {
			var printed bytes.Buffer
			if err := syntax.NewPrinter().Print(&printed, word); err != nil {
				panic(err)
			}
			text = strings.Trim(printed.String(), `'"`)
		}
		found = append(found, text)
	}
	return found
}

var ownPath = regexp.MustCompile(`^(\./)?(config|examples|hack|docs|charts|test)/[\w./-]+$`)

func checkCommand(words []string) error {
	if len(words) == 0 {
		return nil
	}
	for _, word := range words[1:] {
		if ownPath.MatchString(word) {
			if _, err := os.Stat(checkout.Path(word)); err != nil {
				return fmt.Errorf("%s does not exist", word)
			}
		}
	}
	switch words[0] {
	case "make":
		return checkMake(words[1:])
	case "kubectl":
		if at := slices.Index(words, "jobrun"); at == 1 || at == 3 && words[1] == "-n" {
			return checkPlugin(words[at+1:])
		}
	}
	return nil
}

// checkMake looks for the targets, without executing anything.
func checkMake(arguments []string) error {
	for _, target := range arguments {
		if strings.Contains(target, "=") || strings.HasPrefix(target, "-") {
			continue
		}
		if !slices.Contains(targets(), target) {
			return fmt.Errorf("make has no target %q", target)
		}
	}
	return nil
}

var target = regexp.MustCompile(`(?m)^([\w-]+):`)

// targets returns the targets of the Makefile and of hack/make.
func targets() []string {
	command := exec.Command("sh", "-c", "cat Makefile hack/make/*.mk")
	command.Dir = checkout.Path()
	text, err := command.Output()
	if err != nil {
		panic(err)
	}
	var found []string
	for _, match := range target.FindAllStringSubmatch(string(text), -1) {
		found = append(found, match[1])
	}
	return found
}

// checkPlugin has the plugin parse a command line, and print the help of its command.
func checkPlugin(arguments []string) error {
	if len(arguments) == 0 || strings.HasPrefix(arguments[0], "$") {
		return nil
	}
	var help, complaint bytes.Buffer
	withHelp := slices.Insert(slices.Clone(arguments), 1, "--help")
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: &help, ErrOut: &complaint}
	switch code := cli.Main(context.Background(), withHelp, cli.Options{Streams: streams}); {
	case code != 0:
		return fmt.Errorf("kubectl jobrun %s: %s", strings.Join(arguments, " "), &complaint)
	case !strings.HasPrefix(arguments[0], "-") && !strings.Contains(help.String(), "kubectl jobrun "+arguments[0]):
		return fmt.Errorf("kubectl jobrun has no command %q", arguments[0])
	}
	return nil
}
