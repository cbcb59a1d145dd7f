// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The edits of this file add what kustomize does not have.

// pods adds the image and the metadata of a Deployment's Pods. The values are those of the given group.
func (e *editor) pods(deployment, group string) {
	e.put(deployment, podSpec+".containers.0.image", &template{inline: `include "jobrun.image" .`})
	e.put(deployment, podSpec+".containers.0.imagePullPolicy", &template{with: ".Values.image.pullPolicy", isScalar: true})
	e.put(deployment, podSpec+".imagePullSecrets", &template{with: ".Values.image.pullSecrets"})
	for field, value := range map[string]string{"annotations": "podAnnotations", "labels": "podLabels"} {
		e.lines(deployment, "spec.template.metadata."+field,
			"{{- with .Values."+group+"."+value+" }}", "{{- toYaml . | nindent +0 }}", "{{- end }}")
	}
}

// memory lets the gateway's limit of memory follow the switch gateway.receivers, unless the user sets a limit.
func (e *editor) memory(v *values) {
	const path = podSpec + ".containers.0.resources"
	limit := e.node(gatewayDeployment, path+".limits.memory")
	if limit == nil || limit.differs == "" {
		e.fail("%s has no limit of memory that config/gateway/receivers raises", gatewayDeployment)
		return
	}
	less, more := limit.scalar.Value, limit.differs
	e.put(gatewayDeployment, path, &template{with: fmt.Sprintf(
		`include "jobrun.withMemory" (list .Values.gateway.resources (ternary %q %q .Values.%s)) | fromYaml`, more, less, receivers)})
	for _, leaf := range v.leaves() {
		if leaf.path == "gateway.resources" {
			leaf.initial = clone(leaf.initial)
			get(get(leaf.initial, "limits"), "memory").Value = ""
			get(get(leaf.initial, "limits"), "memory").Style = yaml.DoubleQuotedStyle
			leaf.describe(fmt.Sprintf("If `limits.memory` is empty: %s, and with `receivers` %s. `null`: no limit.", less, more))
		}
	}
}

// extraArguments are the lines of the flags in a value.
func extraArguments(group string) []string {
	return []string{"{{- range .Values." + group + ".extraArgs }}", "- {{ . | quote }}", "{{- end }}"}
}

// arguments adds flags.
func (e *editor) arguments() {
	const args = podSpec + ".containers.0.args"
	e.lines(manager, args, `{{- with .Values.namespaces }}`, `- --namespaces={{ join "," . }}`, `{{- end }}`)
	e.lines(manager, args, extraArguments("manager")...)
	e.lines(gatewayDeployment, args,
		`{{- with .Values.gateway.allowedOrigins }}`, `- {{ printf "--gateway-allowed-origins=%s" (join "," .) | quote }}`, `{{- end }}`)
	e.lines(gatewayDeployment, args, `{{- if and .Values.namespaces .Values.gateway.receivers }}`,
		`- --gateway-receiver-namespaces={{ join "," .Values.namespaces }}`, `{{- end }}`)
	e.lines(gatewayDeployment, args, extraArguments("gateway")...)
}

// certificates adds the names of Secrets, and the issuer.
func (e *editor) certificates() {
	secrets := map[string]string{"webhook-certs": "jobrun.webhookSecret", "metrics-certs": "jobrun.metricsSecret"}
	for _, volume := range e.node(manager, podSpec+".volumes").items {
		if helper, ok := secrets[volume.field("name").scalar.Value]; ok {
			volume.at("secret.secretName").template = &template{inline: `include "` + helper + `" . | quote`}
		}
	}
	for _, issuer := range e.all("Issuer") {
		issuer.when = append(issuer.when, "not .Values.certificates.issuerRef")
	}
	for _, certificate := range e.all("Certificate") {
		if certificate.body.at("spec.isCA") != nil { // for an Issuer
			certificate.when = append(certificate.when, "not .Values.certificates.issuerRef")
			continue
		}
		spec := certificate.body.field("spec")
		issuer := spec.field("issuerRef")
		issuer.when = append(issuer.when, "not .Values.certificates.issuerRef")
		spec.add("{{- with .Values.certificates.issuerRef }}", "issuerRef:", "  {{- toYaml . | nindent +2 }}", "{{- end }}")
	}
	e.gatewayCertificate()
}

// gatewayCertificate lets the gateway use a Secret of the user. Nothing issues a certificate for it then.
func (e *editor) gatewayCertificate() {
	const issued = "not .Values.gateway.secretName"
	for _, id := range []string{"Role/jobrun-gateway-cert", "RoleBinding/jobrun-gateway-cert", "Certificate/jobrun-gateway-cert"} {
		if o := e.object(id); o != nil {
			o.when = append(o.when, issued)
		}
	}
	for _, arg := range e.node(manager, podSpec+".containers.0.args").items {
		if arg.scalar != nil && strings.HasPrefix(arg.scalar.Value, "--gateway-") {
			arg.when = append(arg.when, issued)
		}
	}
	e.put(gatewayDeployment, podSpec+".volumes.0.secret.secretName",
		&template{inline: `.Values.gateway.secretName | default "jobrun-gateway-cert" | quote`})
	e.lines("Certificate/jobrun-gateway-cert", "spec.dnsNames",
		"{{- range .Values.gateway.dnsNames }}", "- {{ . | quote }}", "{{- end }}")
}

// crds lets Helm keep the CRDs when it uninstalls the release.
func (e *editor) crds() {
	for _, crd := range e.all("CustomResourceDefinition") {
		crd.body.at("metadata.annotations").add("{{- if .Values.crds.keep }}", "helm.sh/resource-policy: keep", "{{- end }}")
	}
}

// webhooks limits the webhooks to the namespaces that the operator serves, and gives them the CA of the user's own Secret.
func (e *editor) webhooks() {
	for _, kind := range []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"} {
		for _, configuration := range e.all(kind) {
			for _, webhook := range configuration.body.field("webhooks").items {
				webhook.add("{{- with .Values.namespaces }}", "namespaceSelector:", "  matchExpressions:",
					"  - key: kubernetes.io/metadata.name", "    operator: In", "    values:", "    {{- toYaml . | nindent +4 }}", "{{- end }}")
				webhook.field("clientConfig").add("{{- with .Values.certificates.caBundle }}", "caBundle: {{ . | quote }}", "{{- end }}")
			}
		}
	}
}

// networkPolicies lets only the API servers, or whom the user names, call the webhook. The scrapers of the operator scrape the gateway,
// too.
func (e *editor) networkPolicies() {
	e.lines("NetworkPolicy/jobrun-allow-webhook-traffic", "spec.ingress.0",
		"{{- if .Values.networkPolicy.webhookFrom }}", "from:", "{{- toYaml .Values.networkPolicy.webhookFrom | nindent +0 }}",
		"{{- else if .Values.networkPolicy.apiServers }}", "from:",
		"{{- range .Values.networkPolicy.apiServers }}", "- ipBlock:", "    cidr: {{ . | quote }}", "{{- end }}", "{{- end }}")
	e.put("NetworkPolicy/jobrun-allow-gateway-traffic", "spec.ingress.1.from", &template{with: ".Values.networkPolicy.metricsFrom"})
}

// versions adds the labels with the versions to the objects themselves. Selectors and Pods do not have them: a new version of the
// chart alone restarts nothing.
func (e *editor) versions() {
	for _, o := range e.objects {
		labels := o.body.at("metadata.labels")
		if labels == nil {
			e.fail("%s/%s has no labels, to which the chart adds the versions", o.kind, o.name)
			continue
		}
		labels.add(`{{- include "jobrun.versionLabels" $ | nindent +0 }}`)
	}
}

// monitoring adds the labels by which Prometheus and Grafana find their objects.
func (e *editor) monitoring() {
	labels := func(o *object, group string) {
		o.body.at("metadata.labels").add("{{- with .Values.monitoring."+group+".labels }}", "{{- toYaml . | nindent +0 }}", "{{- end }}")
	}
	for _, o := range e.all("ServiceMonitor") {
		labels(o, "serviceMonitor")
	}
	for _, o := range e.all("PrometheusRule") {
		labels(o, "rules")
	}
	for _, o := range e.all("ConfigMap") {
		metadata := o.body.field("metadata")
		metadata.field("labels").without("grafana_dashboard")
		labels(o, "dashboards")
		metadata.add("{{- with .Values.monitoring.dashboards.annotations }}", "annotations:", "  {{- toYaml . | nindent +2 }}", "{{- end }}")
		metadata.field("namespace").template = &template{inline: ".Values.monitoring.dashboards.namespace | default .Release.Namespace | quote"}
	}
}
