{{- define "ingest.labels" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "ingest.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* What every pod is allowed: nothing but its network. */}}
{{- define "ingest.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 64Mi}
{{- end }}

{{- define "ingest.plain" -}}
image: {{ include "ingest.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "ingest.container" -}}
{{ include "ingest.plain" .root }}
env:
  {{- range .secrets }}
  - name: {{ . }}
    valueFrom:
      secretKeyRef: {name: {{ $.root.Values.secretName | quote }}, key: {{ . }}, optional: {{ not (hasSuffix "PASSWORD" .) }}}
  {{- end }}
  - {name: LOG_FORMAT, value: json}
  - {name: DATABASE_URL, value: {{ .databaseUrl | quote }}}
  - {name: REDIS_URL, value: {{ required "Pass one of shapes/ with --values." .root.Values.redis.url | quote }}}
  {{- with .root.Values.redis.queueUrl }}
  - {name: QUEUE_REDIS_URL, value: {{ . | quote }}}
  {{- end }}
  {{- if has "POSTGRES_READ_PASSWORD" .secrets }}
  - {name: READ_DATABASE_URL, value: {{ .root.Values.postgres.readUrl | quote }}}
  {{- end }}
  {{- range $name, $value := .root.Values.settings }}
  - {name: {{ $name }}, value: {{ $value | toString | quote }}}
  {{- end }}
{{- end }}
