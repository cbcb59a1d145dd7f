// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"
)

// OperatorUser is the user name of the operator in config/webhook and config/policy.
const OperatorUser = "system:serviceaccount:jobrun-system:jobrun-controller-manager"

// AsOperator returns an administrator's config with the operator's user name and all rights. The API server does not
// call the webhook for some of the operator's updates.
func AsOperator(admin *rest.Config) *rest.Config {
	config := rest.CopyConfig(admin)
	config.Impersonate = rest.ImpersonationConfig{UserName: OperatorUser, Groups: []string{user.SystemPrivilegedGroup}}
	return config
}
