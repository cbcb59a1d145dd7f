// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package model is a Kubernetes API server in memory, and everything around it
// that can go wrong, under the control of one deterministic scheduler. The
// property tests run the production code of the webhook, the index and the
// controller over it, unchanged.
//
// # What is real
//
//   - The registry: every write goes through the API server's own
//     genericregistry.Store (preconditions, generateName, finalizers, deletion
//     and its propagation policies, optimistic locking, generation).
//   - The custom resources: the API server's own strategies, its schema
//     validation, pruning and defaulting, and the CEL rules of
//     config/crd/bases, read from there and compiled once.
//
// Only the storage below (a map and a history instead of etcd) and the
// transport above (a function call instead of HTTP) are ours. A differential
// test drives the same sequences against the model and a real API server.
//
// # What is modelled
//
//   - Informer caches ([Cache]): each process sees each kind through a prefix
//     of the history of that kind. Prefixes grow when the scheduler says so.
//   - The network ([Sim]): a call waits until the scheduler executes it. A
//     request may be lost, its response may be lost or late, and it may be
//     applied long after its caller gave up or died.
//   - The chain of admission ([Gateway]): a create or update of a JobRun by a
//     user goes through a replica of the webhook that the scheduler picks, and
//     is stored later, or never.
//   - Processes ([Process]) that crash between any two of their calls and come
//     back with nothing but their caches, and work queues ([Queue],
//     [Controller]) with the promises of client-go's.
//   - The rest of the cluster ([World]): the Job controller, the kubelet and the
//     garbage collector, one small step at a time, and people who delete things.
//   - Time: the fake clock of testing/synctest. It moves only when the
//     scheduler lets it.
//
// # What is not
//
//   - Patch, server-side apply, deletecollection and watches by resourceVersion:
//     a client that asks for them is told so by an error.
//   - managedFields, and validation and defaulting of built-in kinds beyond
//     what the operator could notice. See builtin.go.
//   - Several API servers: live reads are linearizable, as etcd's are.
//
// # Schedules
//
// A schedule is a slice of numbers. At each step the scheduler waits until
// every goroutine is blocked, lists what could happen next, and picks by the
// next number. Zero is always the most benign choice, and so is everything
// after the last number: a schedule ends with a fair and fault-free rest, in
// which the system must come to rest. Hence a shorter schedule with smaller
// numbers is a simpler one, and a failing one shrinks well.
package model
