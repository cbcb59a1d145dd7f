// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package signature

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

const (
	// maxSecrets is the new secret and the one before it.
	maxSecrets = 2
	// encodedPrefix begins a secret of Standard Webhooks. The rest is the base64 of the key.
	encodedPrefix = "whsec_"
)

// The errors of ParseSecrets.
var (
	ErrNoSecret       = errors.New("the value is empty")
	ErrTooManySecrets = errors.New("the value has more than two lines")
	ErrNotBase64      = errors.New("the value is not whsec_ and the base64 of a key")
)

// Secret is one secret that a sender may have.
type Secret struct {
	// text is the secret as it is written, and key the key of Standard Webhooks that it stands for.
	text, key []byte
}

// ParseSecrets returns the secrets in a value of a Secret: one, or two of them on a line each. Spaces around a line do not count,
// nor do empty lines.
func ParseSecrets(kind v1alpha1.ReceiverType, value []byte) ([]Secret, error) {
	var secrets []Secret
	for line := range bytes.Lines(value) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if len(secrets) == maxSecrets {
			return nil, ErrTooManySecrets
		}
		key, err := keyOf(kind, line)
		if err != nil {
			return nil, err
		}
		secrets = append(secrets, Secret{text: line, key: key})
	}
	if len(secrets) == 0 {
		return nil, ErrNoSecret
	}
	return secrets, nil
}

// keyOf returns the key of Standard Webhooks. A secret token of GitLab is none, and then signs nothing.
func keyOf(kind v1alpha1.ReceiverType, secret []byte) ([]byte, error) {
	encoded, prefixed := strings.CutPrefix(string(secret), encodedPrefix)
	key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(encoded, "="))
	switch {
	case err == nil && len(key) > 0 && (prefixed || kind == v1alpha1.ReceiverStandardWebhooks):
		return key, nil
	case kind == v1alpha1.ReceiverStandardWebhooks:
		return nil, ErrNotBase64
	default:
		return secret, nil
	}
}

// unknown is the secret that nobody has.
var unknown = func() Secret {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // it never fails
	return Secret{text: key, key: key}
}()
