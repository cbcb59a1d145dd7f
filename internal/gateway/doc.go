// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package gateway is JobRun over HTTP: triggers, lists and streams for callers without a Kubernetes client.
//
// The gateway has a user of its own in the cluster, with which it reads and writes. Before it does so for a caller, it asks
// the API server who the caller is (TokenReview) and whether the caller may do this (SubjectAccessReview). So the Roles of
// the cluster govern, and the gateway never does for a caller what the caller may not do.
//
// One request passes, in this order (chain.go):
//
//	request id, metrics, recovery from panics
//	CORS                                         cors.go
//	the route                                    routes.go: the table of all routes, and who may use each
//	draining                                     drain.go: 503 once the gateway stops
//	authentication                               authenticate.go: who the caller is
//	what the caller has in flight                limits.go
//	authorization                                rights.go: what the route needs, see route.needs
//	what the namespace has in flight             limits.go
//	the handler                                  one file for each topic: trigger.go, runs.go, ...
//
// A delivery to a receiver has no token. Its handler, receive.go, checks the signature instead, and bounds what comes before that.
//
// A handler is a func(http.ResponseWriter, *http.Request) error. It writes an answer with writeJSON and returns nil, or
// returns an error and writes nothing: the chain turns it into a Kubernetes Status (status.go). The handler finds the
// caller with userOf, asks for rights that the path alone does not tell with Server.require, and reads and writes with
// Server.runs or Server.api.
//
// # What the package does not promise
//
// The bounds on what is in flight hold for one process, not for all replicas together. An answer of the API server about a
// token or a right is believed for 10 s, so a token that is revoked works for that long. That a caller has a right is believed
// for a second more, without a look at the authorizer (known_rights.go).
package gateway
