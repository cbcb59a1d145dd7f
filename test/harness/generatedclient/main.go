// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

// Command generatedclient uses a gateway through the client that oapi-codegen generates from the gateway's OpenAPI document, as the
// user of any such generator does. It first validates the document. It prints one line for each thing that it did.
//
// The tree has no generated code. The test of test/suites/gateway generates it from what a gateway serves, and builds this program with
// it by an overlay.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/jobrun-dev/jobrun/test/harness/generatedclient/client"
)

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, document string) error {
	if err := validate(ctx, document); err != nil {
		return fmt.Errorf("the OpenAPI document: %w", err)
	}
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // a test's certificate
	token := func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+os.Getenv("TOKEN"))
		return nil
	}
	gateway, err := client.NewClientWithResponses(os.Getenv("GATEWAY"), client.WithHTTPClient(insecure), client.WithRequestEditorFn(token))
	if err != nil {
		return err
	}
	return (&story{gateway, os.Getenv("NAMESPACE"), os.Getenv("JOB")}).tell(ctx)
}

func validate(ctx context.Context, file string) error {
	document, err := openapi3.NewLoader().LoadFromFile(file)
	if err != nil {
		return err
	}
	return document.Validate(ctx)
}

type story struct {
	gateway        *client.ClientWithResponses
	namespace, job string
}

func (s *story) tell(ctx context.Context) error {
	run, err := s.trigger(ctx)
	if err != nil {
		return err
	}
	return s.read(ctx, run)
}

// trigger triggers a run, has it absorb another trigger, and is refused a third one. It returns the name of the run.
func (s *story) trigger(ctx context.Context) (run string, err error) {
	key, skip := "k", client.TriggerRequestCoalesce("Skip")
	var input any = map[string]string{"org": "acme"}
	absorbable := client.TriggerRequest{ConcurrencyKey: &key, Coalesce: &skip, Input: &input}
	created, err := s.gateway.TriggerWithResponse(ctx, s.namespace, s.job, nil, absorbable)
	if err != nil {
		return "", err
	}
	if created.JSON201 == nil {
		return "", unexpected("trigger", created)
	}
	run = *created.JSON201.Run
	fmt.Println(*created.JSON201.Disposition, run)
	coalesced, err := s.gateway.TriggerWithResponse(ctx, s.namespace, s.job, nil, absorbable)
	if err != nil {
		return "", err
	}
	if coalesced.JSON200 == nil {
		return "", unexpected("trigger again", coalesced)
	}
	fmt.Println(*coalesced.JSON200.Disposition, *coalesced.JSON200.Run)
	refused, err := s.gateway.TriggerWithResponse(ctx, s.namespace, s.job, nil, client.TriggerRequest{ConcurrencyKey: &key})
	if err != nil {
		return "", err
	}
	if refused.JSON409 == nil {
		return "", unexpected("trigger without coalesce", refused)
	}
	cause := (*refused.JSON409.Details.Causes)[0]
	fmt.Println(*refused.JSON409.Reason, *cause.Reason, *cause.Message)
	return run, nil
}

// read lists, reads and cancels the run.
func (s *story) read(ctx context.Context, run string) error {
	list, err := s.gateway.ListRunsWithResponse(ctx, s.namespace, &client.ListRunsParams{JobName: &s.job})
	if err != nil {
		return err
	}
	if list.JSON200 == nil {
		return unexpected("list", list)
	}
	fmt.Println("listed", len(*list.JSON200.Items))
	got, err := s.gateway.GetRunWithResponse(ctx, s.namespace, run)
	if err != nil {
		return err
	}
	if got.JSON200 == nil {
		return unexpected("get", got)
	}
	fmt.Println("got", got.JSON200.Metadata.Name, *got.JSON200.Spec.ConcurrencyKey)
	cancelled, err := s.gateway.CancelRunWithResponse(ctx, s.namespace, run)
	if err != nil {
		return err
	}
	if cancelled.JSON200 == nil {
		return unexpected("cancel", cancelled)
	}
	fmt.Println("cancelled", *cancelled.JSON200.Status)
	missing, err := s.gateway.GetRunWithResponse(ctx, s.namespace, "nothing")
	if err != nil {
		return err
	}
	if missing.JSON404 == nil {
		return unexpected("get what does not exist", missing)
	}
	fmt.Println("missing", *missing.JSON404.Reason, *missing.JSON404.Code)
	return nil
}

// unexpected returns the error for an answer whose code or type is not the one that the document promises.
func unexpected(what string, answer interface{ Status() string }) error {
	return fmt.Errorf("%s: the answer is %s, or not what the document says", what, answer.Status())
}
