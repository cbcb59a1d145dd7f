// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
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

// The errors of Check.
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

// Check returns nil if a delivery to a receiver of a type comes from who has one of the secrets. Otherwise it returns ErrWrong or
// ErrTime.
func Check(kind v1alpha1.ReceiverType, header http.Header, body Body, secrets []Secret, now time.Time) error {
	switch kind {
	case v1alpha1.ReceiverGitHub:
		return checkHex(body, secrets, header.Get(githubSignature), true)
	case v1alpha1.ReceiverHMAC:
		signature := header.Get(plainSignature)
		if signature == "" {
			signature = header.Get(githubSignature)
		}
		return checkHex(body, secrets, signature, false)
	case v1alpha1.ReceiverStandardWebhooks:
		return checkStandard(header, body, secrets, now)
	case v1alpha1.ReceiverGitLab:
		err := checkStandard(header, body, secrets, now)
		if hasToken(header, secrets) {
			return nil
		}
		return err
	default:
		return ErrWrong
	}
}

// Unknown does the work of Check for a delivery to a receiver that does not exist, and returns ErrWrong.
func Unknown(header http.Header, body Body) error {
	_ = Check(v1alpha1.ReceiverHMAC, header, body, []Secret{unknown}, time.Time{})
	return ErrWrong
}

// checkHex checks a signature of the body in hexadecimal digits.
func checkHex(body Body, secrets []Secret, signature string, needsPrefix bool) error {
	digits, prefixed := strings.CutPrefix(signature, hexPrefix)
	got, err := hex.DecodeString(digits)
	if err != nil || needsPrefix && !prefixed {
		got = nil
	}
	right := false
	for _, secret := range secrets {
		right = hmac.Equal(sum(secret.text, "", body), got) || right
	}
	if !right {
		return ErrWrong
	}
	return nil
}

// checkStandard checks the signatures of Standard Webhooks: of id, time and body.
func checkStandard(header http.Header, body Body, secrets []Secret, now time.Time) error {
	id, at := header.Get(standardID), header.Get(standardTime)
	signatures := standardSignatures(header.Get(standardSignature))
	right := false
	for _, secret := range secrets {
		want := sum(secret.key, id+"."+at+".", body)
		for _, got := range signatures {
			right = hmac.Equal(want, got) || right
		}
	}
	switch {
	case !right || id == "":
		return ErrWrong
	case !isNear(at, now):
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

// sum returns the HMAC of a prefix and a body.
func sum(key []byte, prefix string, body Body) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(prefix))
	for _, piece := range body {
		mac.Write(piece)
	}
	return mac.Sum(nil)
}
