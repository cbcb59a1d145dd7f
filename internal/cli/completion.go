// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// completionPatience is how long Tab may take.
const completionPatience = 3 * time.Second

// completeRuns completes the name of a JobRun.
func (p *plugin) completeRuns(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return p.complete(cmd, args, prefix, nameOf)
}

func nameOf(m *metav1.PartialObjectMetadata) string { return m.Name }

// completeJobs completes the name of a job, from the definitions and the JobRuns that exist.
func (p *plugin) completeJobs(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	names, directive := p.complete(cmd, args, prefix, func(m *metav1.PartialObjectMetadata) string { return m.Labels[v1alpha1.LabelJobName] })
	if len(args) == 0 {
		names = append(names, p.definitionsLike(cmd, prefix)...)
		slices.Sort(names)
	}
	return slices.Compact(names), directive
}

// completeDescribed completes what describe takes: the name of a JobRun, or "definition" and the name of a definition.
func (p *plugin) completeDescribed(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 1 && isDefinition(args[0]) {
		return p.definitionsLike(cmd, prefix), cobra.ShellCompDirectiveNoFileComp
	}
	names, directive := p.completeRuns(cmd, args, prefix)
	if word := definitionNames[0]; len(args) == 0 && strings.HasPrefix(word, prefix) {
		names = append(names, word)
	}
	return names, directive
}

// definitionsLike returns the names of definitions that begin with prefix.
func (p *plugin) definitionsLike(cmd *cobra.Command, prefix string) []string {
	return p.words(cmd, v1alpha1.GroupVersion.WithKind("JobDefinitionList"), true, prefix, nameOf)
}

// completeFlagWithJobs completes the flag --job.
func (p *plugin) completeFlagWithJobs(cmd *cobra.Command) {
	// The only possible error is a missing flag.
	_ = cmd.RegisterFlagCompletionFunc("job", func(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		return p.completeJobs(cmd, nil, prefix)
	})
}

func (p *plugin) complete(
	cmd *cobra.Command, args []string, prefix string, word func(*metav1.PartialObjectMetadata) string,
) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.words(cmd, v1alpha1.GroupVersion.WithKind("JobRunList"), true, prefix, word), cobra.ShellCompDirectiveNoFileComp
}

// words returns the words of a kind's objects, each once. Errors are dropped: a shell's
// completion has no place to show them.
func (p *plugin) words(
	cmd *cobra.Command, kind schema.GroupVersionKind, namespaced bool, prefix string, word func(*metav1.PartialObjectMetadata) string,
) []string {
	if p.connected() != nil {
		return nil
	}
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := within(parent, completionPatience)
	defer cancel()
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind)
	namespace := ""
	if namespaced {
		namespace = p.namespace
	}
	if err := p.api.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil
	}
	words := map[string]struct{}{}
	for i := range list.Items {
		if w := word(&list.Items[i]); w != "" && strings.HasPrefix(w, prefix) {
			words[w] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(words))
}

// completeConfigFlags completes the flags that choose the cluster and the namespace.
func completeConfigFlags(p *plugin, root *cobra.Command) {
	namespaces := func(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		return p.words(cmd, corev1.SchemeGroupVersion.WithKind("NamespaceList"), false, prefix, nameOf), cobra.ShellCompDirectiveNoFileComp
	}
	contexts := func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		config, err := p.config.ToRawKubeConfigLoader().RawConfig()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names := slices.Sorted(maps.Keys(config.Contexts))
		return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) }), cobra.ShellCompDirectiveNoFileComp
	}
	// The only possible error is a missing flag.
	_ = errors.Join(root.RegisterFlagCompletionFunc("namespace", namespaces), root.RegisterFlagCompletionFunc("context", contexts))
}
