#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The demo's worker executes this for each run. It counts the words of the file that the run's input names.
file=$(sed 's/.*"file": *"\([^"]*\)".*/\1/')
printf '{"file": "%s", "words": %d}\n' "$file" "$(wc -w < "$file")"
