// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// address is the address of every Pod and of the node itself.
const address = "127.0.0.1"

// terminationLogEnv is the variable with the path of the termination message. Every container has it.
const terminationLogEnv = "JOBRUN_TERMINATION_LOG"

// addressFields are the fields of a Pod's status that fieldRef may name. The PodController resolves only those of metadata
// and spec.
var addressFields = []string{"status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs"}

// resolveAddresses replaces references to the Pod's addresses by values.
func resolveAddresses(pod *corev1.Pod) {
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, container := range containers {
			for i, env := range container.Env {
				if from := env.ValueFrom; from != nil && from.FieldRef != nil &&
					slices.Contains(addressFields, from.FieldRef.FieldPath) {
					container.Env[i] = corev1.EnvVar{Name: env.Name, Value: address}
				}
			}
		}
	}
}

// commandLine returns the command and arguments of a container, with references expanded. It returns nothing if only the
// image has a command.
func commandLine(container *corev1.Container) []string {
	if len(container.Command) == 0 {
		return nil
	}
	declared := declaredEnv(container)
	var line []string
	for _, word := range slices.Concat(container.Command, container.Args) {
		line = append(line, expand(word, declared))
	}
	return line
}

// environment returns the environment of a container's process.
func environment(pod *corev1.Pod, container *corev1.Container, home, terminationLog string) map[string]string {
	env := map[string]string{
		"PATH":     os.Getenv("PATH"),
		"HOME":     home,
		"HOSTNAME": pod.Name,
	}
	maps.Copy(env, declaredEnv(container))
	env[terminationLogEnv] = terminationLog
	return env
}

func declaredEnv(container *corev1.Container) map[string]string {
	declared := make(map[string]string, len(container.Env))
	for _, env := range container.Env {
		declared[env.Name] = env.Value
	}
	return declared
}

// expand replaces each $(NAME) by the variable's value, as Kubernetes does: $$ stands for one $, and a reference to an
// unknown variable is kept.
func expand(s string, vars map[string]string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(s, "$")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		name, after, closed := strings.Cut(strings.TrimPrefix(rest, "("), ")")
		value, known := vars[name]
		switch {
		case strings.HasPrefix(rest, "$"):
			out.WriteByte('$')
			s = rest[1:]
		case !strings.HasPrefix(rest, "(") || !closed:
			out.WriteByte('$')
			s = rest
		case known:
			out.WriteString(value)
			s = after
		default:
			out.WriteString("$(" + name + ")")
			s = after
		}
	}
}
