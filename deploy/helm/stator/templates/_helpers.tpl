{{- define "stator.labels" -}}
app.kubernetes.io/name: stator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Where probes ask: the metrics port speaks plain HTTP and needs no client certificate. */}}
{{- define "stator.probed" -}}
{{- if .Values.credentials.existingSecret }}port: metrics{{ else }}port: http{{ if .Values.tls.existingSecret }}, scheme: HTTPS{{ end }}{{ end -}}
{{- end -}}

{{- define "stator.check" -}}
{{- if and (not .Values.storage.url) (not .Values.storage.existingSecret) -}}
{{- fail "storage.url or storage.existingSecret must say where the data are" -}}
{{- end -}}
{{- if and (not .Values.credentials.existingSecret) (not .Values.insecure) -}}
{{- fail "credentials.existingSecret must name the access keys, or insecure must be true" -}}
{{- end -}}
{{- if and .Values.credentials.existingSecret (not .Values.tls.existingSecret) (not .Values.insecureHTTP) -}}
{{- fail "tls.existingSecret must name a certificate, or insecureHTTP must be true" -}}
{{- end -}}
{{- end -}}
