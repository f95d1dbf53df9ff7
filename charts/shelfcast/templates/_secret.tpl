{{/* What the chart keeps in a Secret of its own, if anything: what values have, and not by name. */}}
{{- define "shelfcast.secretData" -}}
{{- $v := .Values -}}
{{- $data := dict "mysql" $v.mysql.dsn "mysql-replica" $v.mysql.replicaDsn "redis" $v.redis.url "admin-token" $v.admin.token "mysql-ca.crt" $v.mysql.ca.pem "redis-ca.crt" $v.redis.ca.pem -}}
{{- range $key, $value := $data }}
{{- with $value }}
{{ $key }}: {{ . | b64enc }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The same for the migration, which runs when the other one is not there yet. */}}
{{- define "shelfcast.migrationData" -}}
{{- $dsn := .Values.migration.dsn -}}
{{- if not (or $dsn .Values.migration.existingSecret .Values.existingSecret) }}{{ $dsn = .Values.mysql.dsn }}{{ end -}}
{{- range $key, $value := dict "mysql" $dsn "mysql-ca.crt" .Values.mysql.ca.pem }}
{{- with $value }}
{{ $key }}: {{ . | b64enc }}
{{- end }}
{{- end }}
{{- end -}}
