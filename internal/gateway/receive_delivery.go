// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
	"github.com/jobrun-dev/jobrun/internal/definition"
)

// This file has what the headers of a delivery say, for each type of receiver.

const (
	githubEvent    = "X-Github-Event"
	githubDelivery = "X-Github-Delivery"
	githubPing     = "ping"
	gitlabEvent    = "X-Gitlab-Event"
	gitlabUUID     = "X-Gitlab-Event-Uuid"
	standardID     = "Webhook-Id"
)

// ignoredByHeaders returns why a delivery triggers nothing, as far as its headers tell; empty if it may trigger.
func ignoredByHeaders(to *receiver, header http.Header) string {
	switch to.Type {
	case v1alpha1.ReceiverGitHub:
		if header.Get(githubEvent) == githubPing {
			return "ping"
		}
		return ignoredEvent(to, header.Get(githubEvent))
	case v1alpha1.ReceiverGitLab:
		return ignoredEvent(to, header.Get(gitlabEvent))
	default:
		return ""
	}
}

// ignoredEvent returns why an event triggers nothing; empty if it may trigger.
func ignoredEvent(to *receiver, event string) string {
	if len(to.Events) == 0 || slices.Contains(to.Events, event) {
		return ""
	}
	return fmt.Sprintf("the event %q is not among the events of receiver %s", fmt.Sprintf("%.128s", event), to.Name)
}

// deliveryID returns what identifies a delivery; empty if nothing does. It returns a 400 if the header that the receiver names is
// missing.
func deliveryID(to *receiver, header http.Header) (string, error) {
	if name := to.IdempotencyHeader; name != "" {
		if header.Get(name) == "" {
			return "", badRequest("the header %s is missing, which is the idempotencyHeader of receiver %s", name, to.Name)
		}
		return header.Get(name), nil
	}
	switch to.Type {
	case v1alpha1.ReceiverGitHub:
		return header.Get(githubDelivery), nil
	case v1alpha1.ReceiverGitLab:
		// The signature covers webhook-id, so nobody else can send the delivery again with another one.
		return cmp.Or(header.Get(standardID), header.Get(idempotencyHeader), header.Get(gitlabUUID)), nil
	case v1alpha1.ReceiverStandardWebhooks:
		return header.Get(standardID), nil
	default:
		return "", nil
	}
}

// deliveryKey returns the idempotencyKey for the id of a delivery; empty without an id. It begins with the name of the receiver, so
// it is no key that another caller uses by chance. An id that cannot be part of a key is hashed.
func deliveryKey(receiver, id string) string {
	if id == "" {
		return ""
	}
	prefix := "receiver/" + receiver + "/"
	if definition.KeyProblem(prefix+id) == "" {
		return prefix + id
	}
	hash := sha256.Sum256([]byte(id))
	return prefix + "sha256:" + hex.EncodeToString(hash[:])
}
