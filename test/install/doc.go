// Package install tests what config/ builds: that what it names exists, and what it does on a real API server.
package install
