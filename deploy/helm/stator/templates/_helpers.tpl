{{- define "stator.labels" -}}
app.kubernetes.io/name: stator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "stator.check" -}}
{{- if and (not .Values.storage.url) (not .Values.storage.existingSecret) -}}
{{- fail "storage.url or storage.existingSecret must say where the data are" -}}
{{- end -}}
{{- if and (not .Values.credentials.existingSecret) (not .Values.insecure) -}}
{{- fail "credentials.existingSecret must name the access keys, or insecure must be true" -}}
{{- end -}}
{{- end -}}
