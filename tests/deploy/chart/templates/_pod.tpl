{{- define "every-workload.podSpec" -}}
serviceAccountName: my-bot
restartPolicy: {{ .restart }}
terminationGracePeriodSeconds: 30
securityContext:
  runAsUser: 1000650000
  fsGroup: 1000650000
  runAsNonRoot: true
containers:
  - name: bot
    image: example.org/bot:1.0
    env:
      - name: TOKEN
        valueFrom:
          secretKeyRef: {name: bot, key: token}
      {{- with .own }}
      - name: MY_BOT_TELEMETRY
        value: {{ . | quote }}
      {{- end }}
    resources:
      limits: {cpu: 100m, memory: 64Mi}
    volumeMounts:
      - {name: config, mountPath: /etc/bot}
  - name: sidecar
    image: example.org/sidecar:1.0
volumes:
  - name: config
    configMap: {name: bot}
{{- end -}}
{{- define "every-workload.with" -}}
{{- $pod := include "every-workload.podSpec" (dict "restart" .restart "own" .root.Values.own) | fromYaml -}}
{{- $arguments := dict "root" .root "app" "my-bot" "podSpec" $pod -}}
{{- if .root.Values.only -}}{{- $_ := set $arguments "only" .root.Values.only -}}{{- end -}}
{{- if .volume -}}{{- $_ := set $arguments "volume" .volume -}}{{- end -}}
{{- include "otel-usage.podSpec" $arguments -}}
{{- end -}}
