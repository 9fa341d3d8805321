{{/*
What can be told from the values and the cluster's version alone. The container's template calls it.
*/}}
{{- define "llm-sidecar.check" -}}
{{- $root := .root | default . -}}
{{- $sidecar := include "llm-sidecar.settings" . | fromYaml -}}
{{- $version := $root.Capabilities.KubeVersion.Version -}}
{{- if not (has $sidecar.mode (list "native" "container")) -}}
{{- fail (printf "llm-sidecar: mode is %q; it is native or container." (toString $sidecar.mode)) -}}
{{- end -}}
{{- if and (eq $sidecar.mode "native") (semverCompare "<1.29.0-0" $version) -}}
{{- fail (printf "llm-sidecar: mode native needs Kubernetes 1.29 or newer, and this cluster is %s: it would drop restartPolicy without a word, and the pod would never start. Set mode: container." $version) -}}
{{- end -}}
{{- if not $sidecar.configMap -}}
{{- fail "llm-sidecar: configMap is empty. Name the ConfigMap that has the configuration as config.yaml." -}}
{{- end -}}
{{- if eq (int $sidecar.dataPort) (int $sidecar.adminPort) -}}
{{- fail (printf "llm-sidecar: dataPort and adminPort are both %d. Each needs a port of its own." (int $sidecar.dataPort)) -}}
{{- end -}}
{{- range $sidecar.env -}}
{{- if has .name (list "POD_IP" "LLM_SIDECAR_ADMIN_BIND") -}}
{{- fail (printf "llm-sidecar: env has %s, which the container has already; probes depend on it. Leave it out." .name) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/*
What can be told from the whole pod. It prints nothing, and fails with a sentence.

  {{- $pod := include "app.pod" . }}
  {{- include "llm-sidecar.validate" (dict "root" . "pod" (fromYaml $pod)) }}

`pod` is the pod's spec, as your chart is about to print it.
*/}}
{{- define "llm-sidecar.validate" -}}
{{- include "llm-sidecar.check" . -}}
{{- $sidecar := include "llm-sidecar.settings" . | fromYaml -}}
{{- $pod := .pod | default dict -}}
{{- if $pod.Error -}}
{{- fail (printf "llm-sidecar: the pod is no valid YAML: %s" $pod.Error) -}}
{{- end -}}
{{- include "llm-sidecar.check.place" (dict "pod" $pod "mode" $sidecar.mode) -}}
{{- $grace := 30 -}}
{{- if hasKey $pod "terminationGracePeriodSeconds" -}}
{{- $grace = int $pod.terminationGracePeriodSeconds -}}
{{- end -}}
{{- if and (eq $sidecar.mode "container") (ge (int $sidecar.holdOpen) $grace) -}}
{{- fail (printf "llm-sidecar: holdOpen is %d s, and the pod is killed after %d s (terminationGracePeriodSeconds). Make it shorter, so that the sidecar can still end what is in flight." (int $sidecar.holdOpen) $grace) -}}
{{- end -}}
{{- $own := list (int $sidecar.dataPort) (int $sidecar.adminPort) -}}
{{- $names := list "llm-sidecar-config" "llm-sidecar-tmp" -}}
{{- range concat ($pod.initContainers | default list) ($pod.containers | default list) -}}
{{- $name := .name -}}
{{- range .volumeMounts -}}
{{- if and (has .name $names) (or .subPath .subPathExpr) -}}
{{- fail (printf "llm-sidecar: the container %s mounts %s with a subPath, and such a mount never changes: the sidecar would not see a new configuration. Mount the whole volume." $name .name) -}}
{{- end -}}
{{- end -}}
{{- if ne $name "llm-sidecar" -}}
{{- range .ports -}}
{{- if and (has (int .containerPort) $own) (eq (.protocol | default "TCP") "TCP") -}}
{{- fail (printf "llm-sidecar: the container %s listens on the port %d, which the sidecar needs. Give the sidecar other ports: dataPort and adminPort, and the same in listeners of its configuration." $name (int .containerPort)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "llm-sidecar.check.place" -}}
{{- $field := ternary "initContainers" "containers" (eq .mode "native") -}}
{{- $other := ternary "containers" "initContainers" (eq .mode "native") -}}
{{- range $place, $container := index .pod $other -}}
{{- if eq $container.name "llm-sidecar" -}}
{{- fail (printf "llm-sidecar: with mode %s the sidecar belongs into %s, and it is in %s." $.mode $field $other) -}}
{{- end -}}
{{- end -}}
{{- $first := first (index .pod $field | default (list dict)) | default dict -}}
{{- if ne (toString $first.name) "llm-sidecar" -}}
{{- fail (printf "llm-sidecar: the sidecar must be the first of %s, so that all others can ask it; the first one is %s." $field ($first.name | default "missing")) -}}
{{- end -}}
{{- if and (eq .mode "container") (has .pod.restartPolicy (list "Never" "OnFailure")) -}}
{{- fail "llm-sidecar: with mode container this job would never end, for the sidecar never does. Use mode native." -}}
{{- end -}}
{{- $volumes := list -}}
{{- range .pod.volumes -}}
{{- $volumes = append $volumes .name -}}
{{- end -}}
{{- range list "llm-sidecar-config" "llm-sidecar-tmp" -}}
{{- if not (has . $volumes) -}}
{{- fail (printf "llm-sidecar: the pod has no volume %s. Include llm-sidecar.volumes in its volumes." .) -}}
{{- end -}}
{{- end -}}
{{- end }}
