{{/* The configurations: the user's, with what only the chart can know. */}}

{{- define "sidecar.gateway.names" -}}
{{- $name := printf "%s-gateway" (include "sidecar.fullname" .) -}}
{{- $namespace := .Release.Namespace -}}
{{- list $name (printf "%s.%s" $name $namespace) (printf "%s.%s.svc" $name $namespace)
    (printf "%s.%s.svc.cluster.local" $name $namespace) | toYaml -}}
{{- end }}

{{/* Refuses keys that the chart writes itself; with `config`, `component` and `keys`. */}}
{{- define "sidecar.refuse" -}}
{{- range $path, $instead := .keys -}}
{{- $found := $.config -}}
{{- range splitList "." $path -}}
{{- $found = ternary (index ($found | default dict) .) nil (kindIs "map" $found) -}}
{{- end -}}
{{- if not (kindIs "invalid" $found) -}}
{{- fail (printf "%s.config.%s is written by the chart; %s." $.component $path $instead) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "sidecar.gateway.config" -}}
{{- $values := .Values.gateway -}}
{{- include "sidecar.refuse" (dict "component" "gateway" "config" $values.config "keys" (dict
    "listeners.data.port" "set gateway.service.port, the port that clients see"
    "listeners.data.bind" "set gateway.bind"
    "listeners.data.keys" "set gateway.clientKeys.secret"
    "listeners.admin" "probes depend on it"
    "drain" "set gateway.drain")) -}}
{{- $config := deepCopy ($values.config | default dict) -}}
{{- $data := dict "port" 14400 "bind" $values.bind -}}
{{- if $values.clientKeys.secret -}}
{{- $_ := set $data "keys" (dict "file" "keys.txt") -}}
{{- end -}}
{{- $drain := dict "mode" "gateway" "settle" (printf "%ds" (int $values.drain.settle)) "limit" (printf "%ds" (int $values.drain.limit)) -}}
{{- $own := dict "listeners" (dict "data" $data "admin" (dict "port" 14401)) "drain" $drain -}}
{{- $names := include "sidecar.gateway.names" . | fromYamlArray -}}
{{- $_ := set $config "hosts" (concat ($config.hosts | default list) $names | uniq) -}}
{{- mergeOverwrite $config $own | toYaml -}}
{{- end }}

{{- define "sidecar.tunnel.config" -}}
{{- $values := .Values.tunnel -}}
{{- include "sidecar.refuse" (dict "component" "tunnel" "config" $values.config "keys" (dict
    "listeners.public.port" "nobody but cloudflared asks it"
    "listeners.public.keys" "set tunnel.clientKeys.secret"
    "listeners.data.port" "nobody but the pod itself asks it"
    "listeners.data.bind" "clients in the cluster ask a gateway"
    "listeners.admin" "probes depend on it"
    "tunnel.token" "set tunnel.token.secret"
    "tunnel.grace" "set tunnel.grace"
    "drain" "it follows from tunnel.grace")) -}}
{{- $config := deepCopy ($values.config | default dict) -}}
{{- $public := dict "port" 14402 -}}
{{- if $values.clientKeys.secret -}}
{{- $_ := set $public "keys" (dict "file" "keys.txt") -}}
{{- end -}}
{{- $tunnel := dict "token" (dict "file" "tunnel-token") "grace" (printf "%ds" (int $values.grace)) -}}
{{- if $values.url -}}
{{- $_ := set $tunnel "probe" (dict "url" $values.url) -}}
{{- end -}}
{{- $limit := printf "%ds" (add (int $values.grace) 20) -}}
{{- $own := dict "listeners" (dict "data" (dict "port" 14400) "admin" (dict "port" 14401) "public" $public)
    "tunnel" $tunnel "drain" (dict "mode" "sidecar" "limit" $limit) -}}
{{- mergeOverwrite $config $own | toYaml -}}
{{- end }}

{{/* What must be told by the values; with sentences for what is missing. */}}
{{- define "sidecar.require" -}}
{{- $gateway := .Values.gateway -}}
{{- $tunnel := .Values.tunnel -}}
{{- range $key := list "labels" "annotations" -}}
{{- range $name, $_ := index $.Values.pod $key -}}
{{- $ours := regexMatch "^(llm-sidecar\\.dev/|helm\\.sh/chart$|app\\.kubernetes\\.io/(name|instance|component|version|managed-by)$)" $name -}}
{{- if $ours -}}
{{- fail (printf "pod.%s has %s, which is written by the chart. Take another name." $key $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $gateway.enabled -}}
{{- if not (regexMatch "^[a-z][-a-z0-9]*$" (include "sidecar.fullname" .)) -}}
{{- fail (printf "The release is called %s, and no Service can have a name that begins with a digit or has a dot in it. Set fullnameOverride." .Release.Name) -}}
{{- end -}}
{{- if and $gateway.config $gateway.configMap -}}
{{- fail "gateway.config and gateway.configMap are both set. Use one of them." -}}
{{- end -}}
{{- if not (or $gateway.config $gateway.configMap) -}}
{{- fail "The gateway has no configuration. Write backends and routes below gateway.config, or name a ConfigMap that has them as config.yaml: gateway.configMap." -}}
{{- end -}}
{{- $data := (($gateway.config).listeners).data | default dict -}}
{{- if not (or $gateway.clientKeys.secret $data.i_know_this_is_open) -}}
{{- fail "The gateway can be reached from other pods, so its clients need keys. Make some with `llm-sidecar keys add NAME --file keys.txt`, put them into a Secret with `kubectl create secret generic llm-clients --from-file=keys.txt`, and set gateway.clientKeys.secret: llm-clients. Without keys whoever reaches it can spend yours; if that is meant, set gateway.config.listeners.data.i_know_this_is_open: true." -}}
{{- end -}}
{{- if ge (int $gateway.drain.settle) (int $gateway.drain.limit) -}}
{{- fail (printf "gateway.drain.settle is %d s, and gateway.drain.limit ends it all after %d s. Make the limit longer." (int $gateway.drain.settle) (int $gateway.drain.limit)) -}}
{{- end -}}
{{- $public := (($gateway.config).listeners).public | default dict -}}
{{- if has (int $public.port) (list 14400 14401) -}}
{{- fail (printf "gateway.config.listeners.public.port is %d, where the gateway listens already (14400 for clients, 14401 for probes). Leave it out: it is 14402 then." (int $public.port)) -}}
{{- end -}}
{{- end -}}
{{- if $tunnel.enabled -}}
{{- if and $tunnel.config $tunnel.configMap -}}
{{- fail "tunnel.config and tunnel.configMap are both set. Use one of them." -}}
{{- end -}}
{{- if not (or $tunnel.config $tunnel.configMap) -}}
{{- fail "The tunnel has no configuration. Write backends, and routes with `public: true`, below tunnel.config, or name a ConfigMap: tunnel.configMap." -}}
{{- end -}}
{{- if not $tunnel.token.secret -}}
{{- fail "The tunnel has no token. Put it into a Secret with `kubectl create secret generic llm-tunnel --from-file=tunnel-token`, and set tunnel.token.secret: llm-tunnel." -}}
{{- end -}}
{{- $public := (($tunnel.config).listeners).public | default dict -}}
{{- if not (or $tunnel.clientKeys.secret $tunnel.configMap $public.access $public.i_know_this_is_open) -}}
{{- fail "Nobody may come in through the tunnel. Put the keys of clients into a Secret as keys.txt, and set tunnel.clientKeys.secret; or set tunnel.config.listeners.public.access." -}}
{{- end -}}
{{- if $tunnel.config -}}
{{- $offered := list -}}
{{- range $name, $route := $tunnel.config.routes -}}
{{- if ($route).public -}}
{{- $offered = append $offered $name -}}
{{- end -}}
{{- end -}}
{{- if not $offered -}}
{{- fail "No route of tunnel.config has `public: true`, so that the tunnel would offer nothing." -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
