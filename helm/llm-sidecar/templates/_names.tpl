{{/* Names, labels and what both Deployments have in common. */}}

{{- define "sidecar.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "sidecar.labels" -}}
app.kubernetes.io/name: {{ .root.Values.nameOverride | default .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "sidecar.selector" -}}
app.kubernetes.io/name: {{ .root.Values.nameOverride | default .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* The values of one component as the library takes them, with `component` and `root`. */}}
{{- define "sidecar.library" -}}
{{- $values := index .root.Values .component -}}
{{- $image := pick .root.Values.image "repository" "tag" "digest" "pullPolicy" -}}
{{- $secrets := $values.secrets | default list -}}
{{- if eq .component "tunnel" -}}
{{- $tag := $values.image.tag | default (printf "%s-tunnel" .root.Values.image.tag) -}}
{{- $image = dict "repository" $image.repository "tag" $tag "digest" $values.image.digest "pullPolicy" $image.pullPolicy -}}
{{- $secrets = append $secrets $values.token.secret -}}
{{- end -}}
{{- $secrets = append $secrets $values.clientKeys.secret -}}
{{- $named := $values.configMap | default (printf "%s-%s" (include "sidecar.fullname" .root) .component) -}}
{{- dict "mode" "container" "image" $image "configMap" $named "secret" "" "secrets" (compact $secrets)
    "start" $values.start "dataPort" 14400 "adminPort" 14401 "holdOpen" 0 "env" $values.env
    "resources" $values.resources | toYaml -}}
{{- end }}

{{/* What a pod of either Deployment is, with `component`, `root` and `grace` (seconds). */}}
{{- define "sidecar.template" -}}
{{- $sidecar := include "sidecar.library" . | fromYaml -}}
{{- $call := dict "root" .root "sidecar" $sidecar "role" .component -}}
{{- $pod := include "sidecar.pod" (dict "root" .root "component" .component "grace" .grace "call" $call) -}}
{{- include "llm-sidecar.validate" (merge (dict "pod" (fromYaml $pod)) $call) -}}
metadata:
  labels:
    {{- include "sidecar.labels" . | nindent 4 }}
    {{- include "llm-sidecar.podLabels" $call | nindent 4 }}
    {{- with .root.Values.pod.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    {{- include "llm-sidecar.podAnnotations" $call | nindent 4 }}
    {{- with .root.Values.pod.annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- $pod | nindent 2 }}
{{- end }}

{{- define "sidecar.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
terminationGracePeriodSeconds: {{ .grace }}
{{- with .root.Values.pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "sidecar.selector" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
containers:
  {{- include "llm-sidecar.container" .call | nindent 2 }}
volumes:
  {{- include "llm-sidecar.volumes" .call | nindent 2 }}
{{- end }}

{{- define "sidecar.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "sidecar.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "sidecar.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ (index .root.Values .component).podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels:
      {{- include "sidecar.selector" . | nindent 6 }}
{{- end }}

{{/* Who may come to a component; kubelet's probes come from the node, which network policies let through. */}}
{{- define "sidecar.policy" -}}
{{- $policy := (index .root.Values .component).networkPolicy -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "sidecar.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "sidecar.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "sidecar.selector" . | nindent 6 }}
  policyTypes: [Ingress{{ if $policy.egress }}, Egress{{ end }}]
  ingress:
    {{- if eq .component "gateway" }}
    # the pod of `helm test`
    - from:
        - podSelector:
            matchLabels:
              {{- include "sidecar.selector" (dict "root" .root "component" "test") | nindent 14 }}
      ports:
        - port: 14400
          protocol: TCP
    {{- end }}
    {{- with $policy.from }}
    - from:
        {{- toYaml . | nindent 8 }}
      ports:
        - port: 14400
          protocol: TCP
    {{- end }}
    {{- with .root.Values.monitoring.from }}
    - from:
        {{- toYaml . | nindent 8 }}
      ports:
        - port: 14401
          protocol: TCP
    {{- end }}
  {{- with $policy.egress }}
  egress:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
