// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	v1alpha1 "github.com/jobrun-dev/jobrun/api/v1alpha1"
)

var now = time.Unix(1674087231, 0)

func mustParse(t *testing.T, kind v1alpha1.ReceiverType, value string) []Secret {
	t.Helper()
	secrets, err := ParseSecrets(kind, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return secrets
}

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

// check checks a body that has come.
func check(kind v1alpha1.ReceiverType, header http.Header, body Body, secrets []Secret, now time.Time) error {
	c := NewChecker(kind, header, secrets)
	for _, piece := range body {
		_, _ = c.Write(piece)
	}
	return c.Check(now)
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

// counted counts the bytes of a sum.
type counted struct {
	hash.Hash

	bytes *int
}

func (c counted) Write(piece []byte) (int, error) {
	*c.bytes += len(piece)
	return c.Hash.Write(piece)
}

// A body is summed up twice, whether its receiver has two secrets, one or none.
func TestTheWorkTellsNothing(t *testing.T) {
	for _, secrets := range [][]Secret{nil, {{text: []byte("a")}}, {{text: []byte("a")}, {text: []byte("b")}}} {
		c, bytes := NewChecker(v1alpha1.ReceiverHMAC, headers(), secrets), 0
		for i := range c.sums {
			c.sums[i] = counted{c.sums[i], &bytes}
		}
		_, _ = c.Write(make([]byte, 100))
		if bytes != 200 {
			t.Errorf("%d secrets: %d bytes", len(secrets), bytes)
		}
	}
}

// signedText is the signature of a text, made from the key by other means than sum.
func signedText(key, text string) string {
	return base64.StdEncoding.EncodeToString(sum([]byte(key), text, nil))
}

const (
	// These are of GitHub's own page on validating webhook deliveries.
	githubSecret = "It's a Secret to Everybody"
	githubBody   = "Hello, World!"
	githubHex    = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	// These are of the specification of Standard Webhooks.
	standardSecret  = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	standardMessage = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"
)

func TestCheckGitHub(t *testing.T) {
	for name, tc := range map[string]struct {
		value, header string
		want          error
	}{
		"right":               {githubSecret, "sha256=" + githubHex, nil},
		"in upper case":       {githubSecret + "\n", "sha256=" + strings.ToUpper(githubHex), nil},
		"of the new secret":   {githubSecret + "\nold", "sha256=" + githubHex, nil},
		"of the old secret":   {"new\n" + githubSecret, "sha256=" + githubHex, nil},
		"of another secret":   {"other", "sha256=" + githubHex, ErrWrong},
		"without its prefix":  {githubSecret, githubHex, ErrWrong},
		"with another prefix": {githubSecret, "sha1=" + githubHex, ErrWrong},
		"too short":           {githubSecret, "sha256=" + githubHex[:62], ErrWrong},
		"too long":            {githubSecret, "sha256=" + githubHex + "00", ErrWrong},
		"no digits":           {githubSecret, "sha256=" + strings.Repeat("x", 64), ErrWrong},
		"empty":               {githubSecret, "sha256=", ErrWrong},
		"missing":             {githubSecret, "", ErrWrong},
	} {
		t.Run(name, func(t *testing.T) {
			body := Body{[]byte(githubBody[:5]), []byte(githubBody[5:]), {}}
			secrets := mustParse(t, v1alpha1.ReceiverGitHub, tc.value)
			if err := check(v1alpha1.ReceiverGitHub, headers("X-Hub-Signature-256", tc.header), body, secrets, now); !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
			if err := check(v1alpha1.ReceiverGitHub, headers("X-Hub-Signature-256", tc.header), Body{[]byte("other")}, secrets, now); !errors.Is(err, ErrWrong) {
				t.Errorf("of another body: %v", err)
			}
		})
	}
}

func TestCheckHMAC(t *testing.T) {
	for name, tc := range map[string]struct {
		headers http.Header
		want    error
	}{
		"with a prefix":              {headers("X-Signature-256", "sha256="+githubHex), nil},
		"without one":                {headers("X-Signature-256", githubHex), nil},
		"in the header of GitHub":    {headers("X-Hub-Signature-256", "sha256="+githubHex), nil},
		"its own header comes first": {headers("X-Signature-256", "00", "X-Hub-Signature-256", "sha256="+githubHex), ErrWrong},
		"wrong":                      {headers("X-Signature-256", strings.Replace(githubHex, "7", "8", 1)), ErrWrong},
		"in another header":          {headers("X-Signature", githubHex), ErrWrong},
	} {
		t.Run(name, func(t *testing.T) {
			err := check(v1alpha1.ReceiverHMAC, tc.headers, Body{[]byte(githubBody)}, mustParse(t, v1alpha1.ReceiverHMAC, githubSecret), now)
			if !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
}

func TestCheckStandardWebhooks(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(standardSecret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	at := func(offset time.Duration) string { return strconv.FormatInt(now.Add(offset).Unix(), 10) }
	sign := func(id, at, body string) string { return "v1," + signedText(string(key), id+"."+at+"."+body) }
	right := sign(standardMessage, at(0), `{"test": 1}`)
	wrong := "v1," + base64.StdEncoding.EncodeToString(make([]byte, 32))
	for name, tc := range map[string]struct {
		value, id, at, signature string
		want                     error
	}{
		"right":                         {standardSecret, standardMessage, at(0), right, nil},
		"without whsec_":                {strings.TrimPrefix(standardSecret, "whsec_"), standardMessage, at(0), right, nil},
		"one of several":                {standardSecret, standardMessage, at(0), "v1a,abc " + wrong + " v1,no " + right + " ", nil},
		"before a wrong one":            {standardSecret + "\nwhsec_bmV3", standardMessage, at(0), right + " " + wrong, nil},
		"of the old secret":             {"whsec_bmV3\n" + standardSecret, standardMessage, at(0), right, nil},
		"5 minutes old":                 {standardSecret, standardMessage, at(-5 * time.Minute), sign(standardMessage, at(-5*time.Minute), `{"test": 1}`), nil},
		"5 minutes early":               {standardSecret, standardMessage, at(5 * time.Minute), sign(standardMessage, at(5*time.Minute), `{"test": 1}`), nil},
		"too old":                       {standardSecret, standardMessage, at(-301 * time.Second), sign(standardMessage, at(-301*time.Second), `{"test": 1}`), ErrTime},
		"too early":                     {standardSecret, standardMessage, at(301 * time.Second), sign(standardMessage, at(301*time.Second), `{"test": 1}`), ErrTime},
		"without a time":                {standardSecret, standardMessage, "", sign(standardMessage, "", `{"test": 1}`), ErrTime},
		"with a time that is none":      {standardSecret, standardMessage, "1e9", sign(standardMessage, "1e9", `{"test": 1}`), ErrTime},
		"with another time":             {standardSecret, standardMessage, at(time.Second), right, ErrWrong},
		"with another id":               {standardSecret, "other", at(0), right, ErrWrong},
		"without an id":                 {standardSecret, "", at(0), sign("", at(0), `{"test": 1}`), ErrWrong},
		"of another secret":             {"whsec_bmV3", standardMessage, at(0), right, ErrWrong},
		"of another version":            {standardSecret, standardMessage, at(0), strings.Replace(right, "v1", "v2", 1), ErrWrong},
		"behind more than one looks at": {standardSecret, standardMessage, at(0), strings.Repeat(wrong+" ", 16) + right, ErrWrong},
		"missing":                       {standardSecret, standardMessage, at(0), "", ErrWrong},
	} {
		t.Run(name, func(t *testing.T) {
			h := headers("webhook-id", tc.id, "webhook-timestamp", tc.at, "webhook-signature", tc.signature)
			err := check(v1alpha1.ReceiverStandardWebhooks, h, Body{[]byte(`{"test": 1}`)}, mustParse(t, v1alpha1.ReceiverStandardWebhooks, tc.value), now)
			if !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
}

// The example of the specification: its authors made the signature.
func TestTheExampleOfStandardWebhooks(t *testing.T) {
	h := headers("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp", "1614265330",
		"webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	secrets := mustParse(t, v1alpha1.ReceiverStandardWebhooks, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err := check(v1alpha1.ReceiverStandardWebhooks, h, Body{[]byte(`{"test": 2432232314}`)}, secrets, time.Unix(1614265330, 0)); err != nil {
		t.Error(err)
	}
}

func TestCheckGitLab(t *testing.T) {
	const body = `{"object_kind":"push"}`
	at := strconv.FormatInt(now.Unix(), 10)
	sign := func(key, at string) http.Header {
		return headers("webhook-id", "u", "webhook-timestamp", at, "webhook-signature", "v1,"+signedText(key, "u."+at+"."+body))
	}
	encoded := "whsec_" + base64.StdEncoding.EncodeToString([]byte("key"))
	for name, tc := range map[string]struct {
		value   string
		headers http.Header
		want    error
	}{
		"a token":                          {"token", headers("X-Gitlab-Token", "token"), nil},
		"the old token":                    {"new\ntoken", headers("X-Gitlab-Token", "token"), nil},
		"another token":                    {"token", headers("X-Gitlab-Token", "tokem"), ErrWrong},
		"a part of the token":              {"token", headers("X-Gitlab-Token", "toke"), ErrWrong},
		"no token":                         {"token", headers("X-Gitlab-Token", ""), ErrWrong},
		"a signature":                      {encoded, sign("key", at), nil},
		"a signature with a plain text":    {"key", sign("key", at), nil},
		"a signature that is too old":      {encoded, sign("key", "1"), ErrTime},
		"a signature of another key":       {encoded, sign("other", at), ErrWrong},
		"the key in place of the encoding": {encoded, headers("X-Gitlab-Token", "key"), ErrWrong},
	} {
		t.Run(name, func(t *testing.T) {
			err := check(v1alpha1.ReceiverGitLab, tc.headers, Body{[]byte(body)}, mustParse(t, v1alpha1.ReceiverGitLab, tc.value), now)
			if !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
}

func TestParseSecrets(t *testing.T) {
	for name, tc := range map[string]struct {
		kind  v1alpha1.ReceiverType
		value string
		count int
		want  error
	}{
		"one":                    {v1alpha1.ReceiverGitHub, "a", 1, nil},
		"one and its line end":   {v1alpha1.ReceiverGitHub, "a\r\n", 1, nil},
		"two":                    {v1alpha1.ReceiverGitHub, "\n a \n\n b\n", 2, nil},
		"three":                  {v1alpha1.ReceiverGitHub, "a\nb\nc", 0, ErrTooManySecrets},
		"none":                   {v1alpha1.ReceiverGitHub, "", 0, ErrNoSecret},
		"spaces":                 {v1alpha1.ReceiverGitLab, " \n \n", 0, ErrNoSecret},
		"no base64":              {v1alpha1.ReceiverStandardWebhooks, "whsec_!", 0, ErrNotBase64},
		"base64 of nothing":      {v1alpha1.ReceiverStandardWebhooks, "whsec_", 0, ErrNotBase64},
		"base64 without padding": {v1alpha1.ReceiverStandardWebhooks, "whsec_YQ", 1, nil},
		"a bad one of two":       {v1alpha1.ReceiverStandardWebhooks, "whsec_YQ==\n!", 0, ErrNotBase64},
	} {
		t.Run(name, func(t *testing.T) {
			secrets, err := ParseSecrets(tc.kind, []byte(tc.value))
			if !errors.Is(err, tc.want) || len(secrets) != tc.count {
				t.Errorf("%d secrets, %v", len(secrets), err)
			}
		})
	}
}

func TestUnknown(t *testing.T) {
	if err := check(v1alpha1.ReceiverHMAC, headers("X-Signature-256", githubHex), Body{[]byte(githubBody)}, nil, now); !errors.Is(err, ErrWrong) {
		t.Error(err)
	}
	if check("Other", headers("X-Gitlab-Token", "a"), nil, mustParse(t, "Other", "a"), now) == nil {
		t.Error("a type that there is not lets in")
	}
	if IsPresent(headers("Authorization", "Bearer a", "webhook-id", "a")) {
		t.Error("these headers sign nothing")
	}
	for _, name := range []string{"X-Hub-Signature-256", "X-Signature-256", "webhook-signature", "X-Gitlab-Token"} {
		if !IsPresent(headers(name, "a")) {
			t.Errorf("%s signs", name)
		}
	}
}

// Whatever headers say, a check neither panics nor lets in who does not have the secret.
func FuzzCheck(f *testing.F) {
	f.Add("sha256="+githubHex, "token", "msg", "1674087231", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1a,x", []byte(githubBody), []byte(githubSecret))
	f.Add("", "", "", "", "v1, v1", []byte(nil), []byte("whsec_\nwhsec_YQ=="))
	f.Fuzz(func(t *testing.T, signature, token, id, at, standard string, body, value []byte) {
		h := headers("X-Hub-Signature-256", signature, "X-Signature-256", signature, "X-Gitlab-Token", token,
			"webhook-id", id, "webhook-timestamp", at, "webhook-signature", standard)
		for _, kind := range []v1alpha1.ReceiverType{
			v1alpha1.ReceiverGitHub, v1alpha1.ReceiverGitLab, v1alpha1.ReceiverStandardWebhooks, v1alpha1.ReceiverHMAC,
		} {
			secrets, err := ParseSecrets(kind, value)
			if (err == nil) != (len(secrets) > 0) || len(secrets) > maxSecrets {
				t.Fatalf("%d secrets, %v", len(secrets), err)
			}
			if check(kind, h, Body{body}, secrets, now) == nil && !knows(kind, h, body, secrets) {
				t.Errorf("%s lets in headers %v", kind, h)
			}
		}
		if check(v1alpha1.ReceiverHMAC, h, Body{body}, nil, now) == nil {
			t.Error("there is no such receiver")
		}
	})
}

// knows reports whether some header has what only who has a secret can make.
func knows(kind v1alpha1.ReceiverType, h http.Header, body []byte, secrets []Secret) bool {
	for _, secret := range secrets {
		digits := hex.EncodeToString(sum(secret.text, "", Body{body}))
		plain := kind == v1alpha1.ReceiverGitHub || kind == v1alpha1.ReceiverHMAC
		if plain && strings.Contains(strings.ToLower(h.Get("X-Hub-Signature-256")), digits) {
			return true
		}
		content := h.Get("webhook-id") + "." + h.Get("webhook-timestamp") + "."
		if strings.Contains(h.Get("webhook-signature"), base64.StdEncoding.EncodeToString(sum(secret.key, content, Body{body}))) {
			return true
		}
		if kind == v1alpha1.ReceiverGitLab && h.Get("X-Gitlab-Token") == string(secret.text) {
			return true
		}
	}
	return false
}
