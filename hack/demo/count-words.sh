#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the worker of the demo executes: counts the words of the file that the run's input names.
file=$(sed 's/.*"file": *"\([^"]*\)".*/\1/')
printf '{"file": "%s", "words": %d}\n' "$file" "$(wc -w < "$file")"
