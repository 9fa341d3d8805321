{{/* What only the other templates use. */}}

{{- define "llm-sidecar.settings" -}}
{{- $root := .root | default . -}}
{{- $found := .sidecar | default (index $root.Values "llm-sidecar-lib") -}}
{{- if not $found -}}
{{- fail "llm-sidecar: there are no values below `llm-sidecar-lib`. Is the chart a dependency of yours, and its alias handed on as (dict \"root\" . \"sidecar\" .Values.alias)?" -}}
{{- end -}}
{{- toYaml $found -}}
{{- end }}

{{- define "llm-sidecar.role" -}}
{{- if hasKey . "role" }}{{ .role }}{{ else }}sidecar{{ end }}
{{- end }}

{{- define "llm-sidecar.image" -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag }}{{ end }}
{{- end }}
