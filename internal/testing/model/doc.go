// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Package model simulates a Kubernetes API server in memory, its clients, and the faults between them.
// One deterministic scheduler decides everything that happens. The property tests run the production
// code of the webhook, the keystore and the controller over it, unchanged.
//
// # What is real
//
//   - The registry: every write goes through the API server's own genericregistry.Store
//     (preconditions, generateName, finalizers, deletion and its propagation policies, optimistic
//     locking, generation).
//   - The custom resources: the API server's own strategies, schema validation, pruning, defaulting and
//     CEL rules. The model reads the definitions from config/crd/bases and compiles them once.
//
// Two parts are ours: the storage below the registry (a map and a history instead of etcd), and the
// transport above it (a function call instead of HTTP). TestDifferential drives the same sequences
// against the model and a real API server.
//
// # What is modelled
//
//   - Informer caches ([Cache]): each process has seen a prefix of the history of each kind. The
//     scheduler decides when a prefix grows.
//   - The network ([Sim]): a call waits until the scheduler executes it. A request may be lost. A
//     response may be lost or late. A write may be applied long after its caller gave up or died.
//   - Admission ([Gateway]): a user's create or update of a JobRun goes through one replica of the
//     webhook, which the scheduler picks. The object is stored later, or never. In the same way the
//     operator's create of a Job goes through the fence.
//   - Processes ([Process]): a process may crash between any two of its calls. Its successor starts
//     with nothing but its caches.
//   - Work queues ([Queue], [Controller]): they keep the promises of client-go's queues.
//   - The rest of the cluster ([World]): the Job controller, the kubelet and the garbage collector, one
//     small step at a time, and people who delete objects.
//   - Time: the fake clock of testing/synctest. It moves only when the scheduler lets it.
//
// # What is not modelled
//
//   - Patch, server-side apply, deletecollection and watches by resourceVersion. A client that asks for
//     them gets an error.
//   - managedFields, and most of the validation and defaulting of built-in kinds: see builtin.go.
//   - Several API servers: live reads are linearizable, as etcd's are.
//
// # Schedules
//
// A schedule is a slice of numbers. At each step the scheduler waits until every goroutine is blocked,
// lists what could happen next, and lets the next number pick from the list. Zero picks the most benign
// step. After the last number every pick is a zero: so each schedule ends with a fair and fault-free
// phase, in which the system must come to rest. A schedule that is shorter or has more zeros is
// simpler. This is why a failing schedule shrinks well.
package model
