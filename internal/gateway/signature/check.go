// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package signature

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"time"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

// The headers that are read here.
const (
	githubSignature   = "X-Hub-Signature-256"
	gitlabToken       = "X-Gitlab-Token"
	plainSignature    = "X-Signature-256"
	standardID        = "Webhook-Id"
	standardTime      = "Webhook-Timestamp"
	standardSignature = "Webhook-Signature"
)

const (
	// tolerance is how far the time of a delivery may be from the gateway's, in both directions, as Standard Webhooks has it.
	tolerance = 5 * time.Minute
	// maxSignatures bounds the signatures of one header that are looked at.
	maxSignatures = 16
	hexPrefix     = "sha256="
	standardV1    = "v1,"
)

// The errors of Checker.Check.
var (
	ErrWrong = errors.New("no signature or token is that of the secret")
	ErrTime  = errors.New("the signature is right, but its time is more than 5 minutes from now, or missing")
)

// Body is a body in the pieces in which it was read.
type Body [][]byte

// IsPresent reports whether a request has any header that may sign it, whatever the type of its receiver is.
func IsPresent(header http.Header) bool {
	for _, name := range []string{githubSignature, gitlabToken, plainSignature, standardSignature} {
		if header.Get(name) != "" {
			return true
		}
	}
	return false
}

// Checker checks the signature of one delivery while its body comes. It does the same work for one secret, for two and for none, so
// the time that it takes does not tell whether there is a receiver.
type Checker struct {
	kind   v1alpha1.ReceiverType
	header http.Header
	// secrets are those of the receiver, and unknown ones in place of those that it does not have. sums has one for each.
	secrets [maxSecrets]Secret
	sums    [maxSecrets]hash.Hash
}

// NewChecker returns the Checker of a delivery to a receiver of a type with at most two secrets. Without secrets, no signature is
// right.
func NewChecker(kind v1alpha1.ReceiverType, header http.Header, secrets []Secret) *Checker {
	c := &Checker{kind: kind, header: header, secrets: [maxSecrets]Secret{unknown, unknown}}
	copy(c.secrets[:], secrets)
	for i, secret := range c.secrets {
		c.sums[i] = newSum(c.kind, header, secret)
	}
	return c
}

// newSum returns the HMAC that begins a signature: Standard Webhooks, as GitLab has it, too, sign the id and the time before the body.
func newSum(kind v1alpha1.ReceiverType, header http.Header, secret Secret) hash.Hash {
	if kind != v1alpha1.ReceiverStandardWebhooks && kind != v1alpha1.ReceiverGitLab {
		return hmac.New(sha256.New, secret.text)
	}
	sum := hmac.New(sha256.New, secret.key)
	sum.Write([]byte(header.Get(standardID) + "." + header.Get(standardTime) + "."))
	return sum
}

// Write adds the next piece of the body. It keeps nothing of it, and returns no error.
func (c *Checker) Write(piece []byte) (int, error) {
	for _, sum := range c.sums {
		sum.Write(piece)
	}
	return len(piece), nil
}

// Check returns nil if the delivery comes from who has one of the secrets. Otherwise it returns ErrWrong or ErrTime. The body has
// come whole.
func (c *Checker) Check(now time.Time) error {
	switch c.kind {
	case v1alpha1.ReceiverGitHub:
		return c.checkHex(c.header.Get(githubSignature), true)
	case v1alpha1.ReceiverHMAC:
		return c.checkHex(cmp.Or(c.header.Get(plainSignature), c.header.Get(githubSignature)), false)
	case v1alpha1.ReceiverStandardWebhooks:
		return c.checkStandard(now)
	case v1alpha1.ReceiverGitLab:
		err := c.checkStandard(now)
		if hasToken(c.header, c.secrets[:]) {
			return nil
		}
		return err
	default:
		return ErrWrong
	}
}

// checkHex checks a signature of the body in hexadecimal digits.
func (c *Checker) checkHex(signature string, needsPrefix bool) error {
	digits, prefixed := strings.CutPrefix(signature, hexPrefix)
	got, err := hex.DecodeString(digits)
	if err != nil || needsPrefix && !prefixed {
		got = nil
	}
	right := false
	for _, sum := range c.sums {
		right = hmac.Equal(sum.Sum(nil), got) || right
	}
	if !right {
		return ErrWrong
	}
	return nil
}

// checkStandard checks the signatures of Standard Webhooks: of id, time and body.
func (c *Checker) checkStandard(now time.Time) error {
	signatures := standardSignatures(c.header.Get(standardSignature))
	right := false
	for _, sum := range c.sums {
		want := sum.Sum(nil)
		for _, got := range signatures {
			right = hmac.Equal(want, got) || right
		}
	}
	switch {
	case !right || c.header.Get(standardID) == "":
		return ErrWrong
	case !isNear(c.header.Get(standardTime), now):
		return ErrTime
	default:
		return nil
	}
}

// standardSignatures returns the signatures of version v1 in a header. Other versions, and what is no signature, are left out.
func standardSignatures(header string) [][]byte {
	var signatures [][]byte
	for part := range strings.SplitSeq(header, " ") {
		text, isV1 := strings.CutPrefix(part, standardV1)
		if !isV1 {
			continue
		}
		signature, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(signature) != sha256.Size {
			continue
		}
		if signatures = append(signatures, signature); len(signatures) == maxSignatures {
			break
		}
	}
	return signatures
}

// isNear reports whether a time in seconds since 1970 is within the tolerance.
func isNear(seconds string, now time.Time) bool {
	at, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return false
	}
	limit := int64(tolerance / time.Second)
	return at >= now.Unix()-limit && at <= now.Unix()+limit
}

// hasToken reports whether the header of GitLab has one of the secrets itself. It compares hashes, which hide the lengths.
func hasToken(header http.Header, secrets []Secret) bool {
	got, right := sha256.Sum256([]byte(header.Get(gitlabToken))), 0
	for _, secret := range secrets {
		want := sha256.Sum256(secret.text)
		right |= subtle.ConstantTimeCompare(want[:], got[:])
	}
	return right == 1
}
