{{- define "bot.podSpec" -}}
serviceAccountName: {{ .Release.Name }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  fsGroup: 10001
containers:
  - name: bot
    image: {{ .Values.image | quote }}
    args: ["8080"]
    ports:
      - {name: chat, containerPort: 8080}
    env:
      - name: BOT_PLUGINS
        value: {{ .Values.plugins | quote }}
    securityContext:
      readOnlyRootFilesystem: true
      allowPrivilegeEscalation: false
      capabilities: {drop: [ALL]}
    resources:
      limits: {memory: 64Mi}
{{- end -}}
