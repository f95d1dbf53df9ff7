{{- define "shelfcast.mounts" -}}
{{- if include "shelfcast.hasCA" .Values.mysql.ca }}
- {name: mysql-ca, mountPath: /etc/shelfcast/mysql, readOnly: true}
{{- end }}
{{- if include "shelfcast.hasCA" .Values.redis.ca }}
- {name: redis-ca, mountPath: /etc/shelfcast/redis, readOnly: true}
{{- end }}
{{- range $name, $folder := dict "templates" .Values.shop.templates "assets" .Values.shop.assets }}
{{- if or $folder.files $folder.existingConfigMap }}
- {name: {{ $name }}, mountPath: /etc/shelfcast/{{ $name }}, readOnly: true}
{{- end }}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "shelfcast.volumes" -}}
{{- $name := include "shelfcast.fullname" . -}}
{{- if include "shelfcast.hasCA" .Values.mysql.ca }}
{{ include "shelfcast.caVolume" (dict "name" "mysql-ca" "ca" .Values.mysql.ca "secret" (include "shelfcast.secretName" .) "key" "mysql-ca.crt") }}
{{- end }}
{{- if include "shelfcast.hasCA" .Values.redis.ca }}
{{ include "shelfcast.caVolume" (dict "name" "redis-ca" "ca" .Values.redis.ca "secret" (include "shelfcast.secretName" .) "key" "redis-ca.crt") }}
{{- end }}
{{- range $part, $folder := dict "templates" .Values.shop.templates "assets" .Values.shop.assets }}
{{- if or $folder.files $folder.existingConfigMap }}
{{ include "shelfcast.filesVolume" (dict "name" $part "folder" $folder "configMap" (printf "%s-%s" $name $part)) }}
{{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
The volume of an authority's certificates, as ca.crt: name, ca, secret (where the
chart keeps what values have) and key (of it there).
*/}}
{{- define "shelfcast.caVolume" -}}
- name: {{ .name }}
  {{- if .ca.existingConfigMap }}
  configMap:
    name: {{ .ca.existingConfigMap }}
  {{- else }}
  secret:
    secretName: {{ default .secret .ca.existingSecret }}
  {{- end }}
    items:
      - key: {{ if .ca.pem }}{{ .key }}{{ else }}{{ .ca.key }}{{ end }}
        path: ca.crt
{{- end -}}

{{/*
The volume of the shop owner's templates or assets: name, folder, configMap (ours).
The folder that the program is given is ..data, where the kubelet has the files
themselves: beside it there are links to them only, and folders of before.
*/}}
{{- define "shelfcast.filesVolume" -}}
- name: {{ .name }}
  configMap:
    {{- if .folder.existingConfigMap }}
    name: {{ .folder.existingConfigMap }}
    {{- with .folder.items }}
    items:
      {{- range $key, $path := . }}
      - {key: {{ $key | quote }}, path: {{ $path | quote }}}
      {{- end }}
    {{- end }}
    {{- else }}
    name: {{ .configMap }}
    items:
      {{- range $path, $text := .folder.files }}
      - {key: {{ include "shelfcast.fileKey" $path | quote }}, path: {{ $path | quote }}}
      {{- end }}
    {{- end }}
{{- end -}}

{{/* The ConfigMap's key of a file: keys have no slash. */}}
{{- define "shelfcast.fileKey" -}}
{{- replace "/" "__" . -}}
{{- end -}}

{{- define "shelfcast.spread" -}}
{{- $spread := .Values.topologySpread -}}
{{- if .Values.topologySpreadConstraints -}}
topologySpreadConstraints:
  {{- toYaml .Values.topologySpreadConstraints | nindent 2 }}
{{- else if or $spread.zones $spread.hosts -}}
topologySpreadConstraints:
  {{- range $key, $when := dict "topology.kubernetes.io/zone" $spread.zones "kubernetes.io/hostname" $spread.hosts }}
  {{- if $when }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: {{ $when }}
    labelSelector:
      matchLabels:
        {{- include "shelfcast.selector" $ | nindent 8 }}
        app.kubernetes.io/component: server
    matchLabelKeys: [pod-template-hash] # pods that are about to go do not count
  {{- end }}
  {{- end }}
{{- end -}}
{{- end -}}
