// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
)

// condition returns the expression that holds for exactly those builds of the outer set that are in the inner one: "" if it holds
// for all of them. What it can say is: one of some providers, and some switches are on.
func condition(inner, outer set) (string, error) {
	providers, switches := common(inner)
	outerProviders, outerSwitches := common(outer)
	for i, b := range builds {
		expressed := outer.has(i) && slices.Contains(providers, b.provider) && containsAll(b.switches, switches)
		if expressed != inner.has(i) {
			return "", fmt.Errorf("no expression holds for exactly these builds: %b of %b", inner, outer)
		}
	}
	var parts []string
	if len(providers) < len(outerProviders) {
		parts = append(parts, oneOf(providers, outerProviders))
	}
	for _, s := range switches {
		if !slices.Contains(outerSwitches, s) {
			parts = append(parts, ".Values."+s)
		}
	}
	return all(parts), nil
}

// common returns the providers of the builds, and the switches that are on in all of them.
func common(s set) (providers, switches []string) {
	first := true
	for i, b := range builds {
		if !s.has(i) {
			continue
		}
		if !slices.Contains(providers, b.provider) {
			providers = append(providers, b.provider)
		}
		if first {
			switches, first = slices.Clone(b.switches), false
		}
		switches = slices.DeleteFunc(switches, func(s string) bool { return !slices.Contains(b.switches, s) })
	}
	return providers, switches
}

func containsAll(list, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(s string) bool { return !slices.Contains(list, s) })
}

// oneOf returns the expression that the provider is one of some providers, if it is one of the outer ones.
func oneOf(providers, outer []string) string {
	const provider = ".Values.certificates.provider"
	if len(providers) == 1 {
		return fmt.Sprintf("eq %s %q", provider, providers[0])
	}
	var others []string
	for _, p := range outer {
		if !slices.Contains(providers, p) {
			others = append(others, fmt.Sprintf("ne %s %q", provider, p))
		}
	}
	return all(others)
}

// all returns the expression that all of some expressions hold.
func all(expressions []string) string {
	if len(expressions) < 2 {
		return strings.Join(expressions, "")
	}
	for i, e := range expressions {
		if strings.Contains(e, " ") {
			expressions[i] = "(" + e + ")"
		}
	}
	return "and " + strings.Join(expressions, " ")
}
