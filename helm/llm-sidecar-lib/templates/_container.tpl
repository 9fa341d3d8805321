{{/*
The sidecar's container, as an item of a list: the first of `initContainers` in mode native, the first of
`containers` in mode container.

  {{- include "llm-sidecar.container" . | nindent 8 }}

Every template here takes the chart's context, and reads the values below `llm-sidecar-lib`; or, for a
dependency with an alias, (dict "root" . "sidecar" .Values.alias).
*/}}
{{- define "llm-sidecar.container" -}}
{{- include "llm-sidecar.check" . -}}
{{- $sidecar := include "llm-sidecar.settings" . | fromYaml -}}
{{- $root := .root | default . -}}
- name: llm-sidecar
  image: {{ include "llm-sidecar.image" $sidecar.image | quote }}
  imagePullPolicy: {{ $sidecar.image.pullPolicy }}
  {{- if eq $sidecar.mode "native" }}
  restartPolicy: Always
  {{- end }}
  args: [run, --config, /etc/llm-sidecar/config.yaml, --start, {{ $sidecar.start }}]
  env:
    - name: POD_IP
      valueFrom:
        fieldRef:
          fieldPath: status.podIP
    - name: LLM_SIDECAR_ADMIN_BIND
      value: $(POD_IP)
    {{- with $sidecar.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    {{- if eq (include "llm-sidecar.role" .) "gateway" }}
    - containerPort: {{ $sidecar.dataPort }}
      protocol: TCP
    {{- end }}
    - containerPort: {{ $sidecar.adminPort }}
      protocol: TCP
  startupProbe:
    httpGet:
      path: /startupz
      port: {{ $sidecar.adminPort }}
    periodSeconds: 1
    timeoutSeconds: 2
    failureThreshold: 120
  livenessProbe:
    httpGet:
      path: /livez
      port: {{ $sidecar.adminPort }}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  readinessProbe:
    httpGet:
      path: /readyz
      port: {{ $sidecar.adminPort }}
    periodSeconds: 5
    timeoutSeconds: 3
    failureThreshold: 3
  {{- if and (eq $sidecar.mode "container") (eq (include "llm-sidecar.role" .) "sidecar") $sidecar.holdOpen }}
  lifecycle:
    preStop:
      {{- if semverCompare ">=1.30.0-0" $root.Capabilities.KubeVersion.Version }}
      sleep:
        seconds: {{ $sidecar.holdOpen }}
      {{- else }}
      exec:
        command: [python3, -c, "import time; time.sleep({{ $sidecar.holdOpen }})"]
      {{- end }}
  {{- end }}
  resources:
    {{- toYaml $sidecar.resources | nindent 4 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    readOnlyRootFilesystem: true
    allowPrivilegeEscalation: false
    capabilities:
      drop: [ALL]
    seccompProfile:
      type: RuntimeDefault
  terminationMessagePolicy: FallbackToLogsOnError
  volumeMounts:
    - name: llm-sidecar-config
      mountPath: /etc/llm-sidecar
      readOnly: true
    - name: llm-sidecar-tmp
      mountPath: /tmp
{{- end }}

{{/*
Both volumes of the sidecar, as items of `volumes`. Configuration and secrets share one, so that they
change together.
*/}}
{{- define "llm-sidecar.volumes" -}}
{{- $sidecar := include "llm-sidecar.settings" . | fromYaml -}}
- name: llm-sidecar-config
  projected:
    defaultMode: 0444
    sources:
      - configMap:
          name: {{ $sidecar.configMap }}
      {{- range compact (prepend $sidecar.secrets $sidecar.secret) | uniq }}
      - secret:
          name: {{ . }}
      {{- end }}
- name: llm-sidecar-tmp
  emptyDir:
    medium: Memory
    sizeLimit: 16Mi
{{- end }}

{{/*
What makes the SDKs of an application ask the sidecar, as items of its `env`. The application's own
variables come behind it, so that they win.
*/}}
{{- define "llm-sidecar.env" -}}
{{- $sidecar := include "llm-sidecar.settings" . | fromYaml -}}
- name: OPENAI_BASE_URL
  value: http://127.0.0.1:{{ $sidecar.dataPort }}/v1
- name: ANTHROPIC_BASE_URL
  value: http://127.0.0.1:{{ $sidecar.dataPort }}
- name: OLLAMA_HOST
  value: http://127.0.0.1:{{ $sidecar.dataPort }}
{{- end }}

{{/*
Labels of the pod. A PodMonitor finds it by them.
*/}}
{{- define "llm-sidecar.podLabels" -}}
llm-sidecar.dev/role: {{ include "llm-sidecar.role" . }}
{{- end }}

{{/*
Annotations of the pod: what is in it, for people and for metrics.
*/}}
{{- define "llm-sidecar.podAnnotations" -}}
{{- $sidecar := include "llm-sidecar.settings" . | fromYaml -}}
llm-sidecar.dev/config-map: {{ $sidecar.configMap | quote }}
{{- with $sidecar.secret }}
llm-sidecar.dev/secret: {{ . | quote }}
{{- end }}
llm-sidecar.dev/mode: {{ $sidecar.mode }}
{{- end }}
