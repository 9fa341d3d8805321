{{/* The pod's spec; a template of its own, so that it can be checked as a whole. */}}
{{- define "app.pod" -}}
{{- $native := eq (index .Values "llm-sidecar-lib" "mode") "native" -}}
automountServiceAccountToken: false
{{- if $native }}
initContainers:
  {{- include "llm-sidecar.container" . | nindent 2 }}
{{- end }}
containers:
  {{- if not $native }}
  {{- include "llm-sidecar.container" . | nindent 2 }}
  {{- end }}
  - name: app
    image: {{ .Values.image }}
    command: [sh, -c]
    args:
      - |
        while sleep 30; do
          curl -sS "$OPENAI_BASE_URL/chat/completions" -H 'content-type: application/json' \
            -d '{"messages": [{"role": "user", "content": "Hello"}]}'
        done
    env:
      {{- include "llm-sidecar.env" . | nindent 6 }}
      - name: OPENAI_API_KEY     # SDKs want one; the sidecar has the real ones
        value: sidecar
    resources:
      requests: {cpu: 10m, memory: 16Mi}
      limits: {memory: 64Mi}
    securityContext:
      runAsNonRoot: true
      runAsUser: 65534
      readOnlyRootFilesystem: true
      allowPrivilegeEscalation: false
      capabilities: {drop: [ALL]}
      seccompProfile: {type: RuntimeDefault}
volumes:
  {{- include "llm-sidecar.volumes" . | nindent 2 }}
{{- end }}
