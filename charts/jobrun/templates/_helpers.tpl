{{/* The image: with the tag or the appVersion, and the digest if there is one. */}}
{{- define "jobrun.image" -}}
{{- with .Values.image -}}
{{ .registry }}/{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ with .digest }}@{{ . }}{{ end }}
{{- end -}}
{{- end -}}

{{/* The Secret with the certificate of the webhook, if it is mounted. */}}
{{- define "jobrun.webhookSecret" -}}
{{- if eq .Values.certificates.provider "secret" -}}
{{ .Values.certificates.secretName }}
{{- else -}}
webhook-server-cert
{{- end -}}
{{- end -}}

{{/* The Secret with the certificate of the metrics, if it is mounted. */}}
{{- define "jobrun.metricsSecret" -}}
{{- if eq .Values.certificates.provider "secret" -}}
{{ .Values.certificates.metricsSecretName | default .Values.certificates.secretName }}
{{- else -}}
metrics-server-cert
{{- end -}}
{{- end -}}

{{/* The labels of the objects that config/ does not have. */}}
{{- define "jobrun.labels" -}}
app.kubernetes.io/name: jobrun
app.kubernetes.io/part-of: jobrun
{{ include "jobrun.versionLabels" . }}
{{- end -}}

{{/* The labels with the versions, which every object has. The value of a label has no plus sign, and at most 63 characters. */}}
{{- define "jobrun.versionLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
{{- end -}}

{{/* Resources, with a limit of memory if theirs is empty. Arguments: the resources and the limit. */}}
{{- define "jobrun.withMemory" -}}
{{- $resources := deepCopy (index . 0 | default dict) -}}
{{- $limits := $resources.limits | default dict -}}
{{- if and (hasKey $limits "memory") (not $limits.memory) -}}
{{- $_ := set $limits "memory" (index . 1) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}
