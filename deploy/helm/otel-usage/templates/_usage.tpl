{{/*
What every workload of a chart says to otel-usage in its containers: see docs/services.md.

    {{ include "otel-usage.podSpec" (dict "root" $ "app" "mybot" "podSpec" (include "mybot.podSpec" . | fromYaml)) | nindent 6 }}

The same for a Deployment, a StatefulSet, a DaemonSet, a Job and a CronJob, since all have a pod.

root     the chart's root, $; its values are read below `telemetry`
app      the name in otel_usage.init
podSpec  the pod's spec, as a dict
volume   (if wanted) the name of a volume of the pod, or of a StatefulSet's claim, that shall hold what waits; else an emptyDir does
only     (if wanted) the names of the containers that run the program; else all of them

A variable that a container has already stays as it is. What is off has one variable, and nothing else.
*/}}
{{- define "otel-usage.podSpec" -}}
{{- $spec := deepCopy .podSpec -}}
{{- $values := .root.Values.telemetry | default dict -}}
{{- $mode := include "otel-usage.mode" .root -}}
{{- $volume := .volume | default "otel-usage" -}}
{{- $mounts := list (dict "name" $volume "mountPath" "/var/lib/otel-usage") -}}
{{- $volumes := list -}}
{{- if not .volume -}}
{{- $volumes = append $volumes (dict "name" $volume "emptyDir" (dict "sizeLimit" "64Mi")) -}}
{{- end -}}
{{- if $values.caBundle -}}
{{- $mounts = append $mounts (dict "name" "otel-usage-ca" "mountPath" "/etc/otel-usage-ca" "readOnly" true) -}}
{{- $items := list (dict "key" "ca.crt" "path" "ca.crt") -}}
{{- $volumes = append $volumes (dict "name" "otel-usage-ca" "configMap" (dict "name" $values.caBundle "items" $items)) -}}
{{- end -}}
{{- $env := (include "otel-usage.env" . | fromYaml).env -}}
{{- $containers := list -}}
{{- range $container := $spec.containers -}}
{{- if or (not $.only) (has $container.name $.only) -}}
{{- $has := list -}}
{{- range $container.env -}}{{- $has = append $has .name -}}{{- end -}}
{{- $all := $container.env | default list -}}
{{- range $env -}}{{- if not (has .name $has) -}}{{- $all = append $all . -}}{{- end -}}{{- end -}}
{{- $_ := set $container "env" $all -}}
{{- if ne $mode "off" -}}
{{- $_ := set $container "volumeMounts" (concat ($container.volumeMounts | default list) $mounts) -}}
{{- end -}}
{{- end -}}
{{- $containers = append $containers $container -}}
{{- end -}}
{{- $_ := set $spec "containers" $containers -}}
{{- if and (ne $mode "off") $volumes -}}
{{- $_ := set $spec "volumes" (concat ($spec.volumes | default list) $volumes) -}}
{{- end -}}
{{- toYaml $spec -}}
{{- end -}}

{{/* The variables, as `env:` and a list; all texts are quoted. */}}
{{- define "otel-usage.env" -}}
{{- $values := .root.Values.telemetry | default dict -}}
{{- $mode := include "otel-usage.mode" .root -}}
{{- $prefix := include "otel-usage.prefix" .app -}}
env:
{{- if $mode }}
  - name: {{ $prefix }}_TELEMETRY
    value: {{ $mode | quote }}
{{- end }}
{{- if ne $mode "off" }}
  {{- /* a folder below the volume, which the program makes itself: one that another user made is not taken */}}
  - name: OTEL_USAGE_HOME
    value: /var/lib/otel-usage/state
{{- with $values.destination }}
  - name: OTEL_EXPORTER_OTLP_ENDPOINT
    value: {{ . | quote }}
{{- end }}
{{- with include "otel-usage.text" $values.installationId }}
  - name: {{ $prefix }}_INSTALLATION_ID
    value: {{ . | quote }}
{{- end }}
{{- if include "otel-usage.clusterIdentity" .root }}
  - name: {{ $prefix }}_CLUSTER_IDENTITY
    value: "true"
{{- end }}
{{- with $values.proxy }}
  - name: HTTPS_PROXY
    value: {{ . | quote }}
  - name: NO_PROXY
    value: "localhost,127.0.0.1,.svc,.cluster.local,$(KUBERNETES_SERVICE_HOST)"
{{- end }}
{{- if $values.caBundle }}
  - name: REQUESTS_CA_BUNDLE
    value: /etc/otel-usage-ca/ca.crt
{{- end }}
{{- end }}
{{- end -}}

{{/*
The right to read the one namespace kube-system, for `clusterIdentity`, and nothing while that is not wanted.

    {{ include "otel-usage.rbac" (dict "root" $ "serviceAccountName" "mybot") }}
*/}}
{{- define "otel-usage.rbac" -}}
{{- if and (include "otel-usage.clusterIdentity" .root) (ne (include "otel-usage.mode" .root) "off") -}}
{{- $name := printf "%s-%s-otel-usage" .root.Release.Namespace .root.Release.Name -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $name }}
rules:
  - apiGroups: [""]
    resources: [namespaces]
    resourceNames: [kube-system]
    verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ required "otel-usage.rbac: serviceAccountName is missing" .serviceAccountName | quote }}
    namespace: {{ .root.Release.Namespace | quote }}
{{- end -}}
{{- end -}}

{{/*
What NOTES.txt says: the state, how to switch it, and how to see what is sent.

    {{ include "otel-usage.notes" (dict "root" $ "app" "mybot" "workload" "deployment/mybot") }}
*/}}
{{- define "otel-usage.notes" -}}
{{- $mode := include "otel-usage.mode" .root -}}
{{- $release := printf "-n %s" .root.Release.Namespace -}}
Usage data of {{ .app }}: {{ $mode | default "as the program's own default says; its log has a line on that" }}.
{{- if ne $mode "off" }}
What would be sent: kubectl exec {{ $release }} {{ .workload }} -- python -m otel_usage preview --app {{ .app }}
To switch it off:   helm upgrade {{ .root.Release.Name }} … {{ $release }} --reuse-values --set telemetry.mode=off
{{- end }}
{{- end -}}

{{/* on, off, local, log, or nothing. YAML has made true of an on that is not quoted, and false of an off. */}}
{{- define "otel-usage.mode" -}}
{{- $mode := include "otel-usage.text" ((.Values.telemetry | default dict).mode) -}}
{{- if has $mode (list "true" "yes" "1" "enabled") -}}on
{{- else if has $mode (list "false" "no" "0" "disabled") -}}off
{{- else -}}{{- $mode -}}
{{- end -}}
{{- end -}}

{{/* Something that is true if the cluster's id is wanted. */}}
{{- define "otel-usage.clusterIdentity" -}}
{{- if has (include "otel-usage.text" ((.Values.telemetry | default dict).clusterIdentity)) (list "true" "on" "yes" "1") -}}true{{- end -}}
{{- end -}}

{{/* A value as text: of a number its digits, of nothing nothing. */}}
{{- define "otel-usage.text" -}}
{{- if kindIs "float64" . -}}{{- printf "%.0f" . -}}
{{- else if not (kindIs "invalid" .) -}}{{- toString . -}}
{{- end -}}
{{- end -}}

{{/* The prefix of an app's variables: my-bot, MY_BOT. */}}
{{- define "otel-usage.prefix" -}}
{{- regexReplaceAll "[^0-9A-Za-z]" . "_" | upper -}}
{{- end -}}
