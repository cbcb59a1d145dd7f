// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"
)

// OperatorUser is the user name of the operator in config/webhook and config/policy.
const OperatorUser = "system:serviceaccount:jobrun-system:jobrun-controller-manager"

// GatewayUser is the user name of the gateway in config/gateway.
const GatewayUser = "system:serviceaccount:jobrun-system:jobrun-gateway"

// AsGateway returns an administrator's config with the gateway's user name, and no other rights than those of config/gateway.
func AsGateway(admin *rest.Config) *rest.Config {
	config := rest.CopyConfig(admin)
	config.Impersonate = rest.ImpersonationConfig{UserName: GatewayUser, Groups: []string{user.AllAuthenticated}}
	return config
}

// AsOperator returns an administrator's config with the operator's user name and all rights. The API server does not
// call the webhook for some of the operator's updates.
func AsOperator(admin *rest.Config) *rest.Config {
	config := rest.CopyConfig(admin)
	config.Impersonate = rest.ImpersonationConfig{UserName: OperatorUser, Groups: []string{user.SystemPrivilegedGroup}}
	return config
}
