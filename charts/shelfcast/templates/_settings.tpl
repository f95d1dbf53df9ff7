{{/*
The settings of `shelfcast serve`, as name: text. Those that are empty are left to
the program. A test compares the names with those that the program has.
*/}}
{{- define "shelfcast.settings" -}}
{{- $v := .Values -}}
SHELFCAST_MYSQL_TIMEOUT: {{ $v.mysql.timeout | quote }}
SHELFCAST_MYSQL_MAX_CONNECTIONS: {{ int64 $v.mysql.connections | quote }}
SHELFCAST_MYSQL_CA: {{ if include "shelfcast.hasCA" $v.mysql.ca }}/etc/shelfcast/mysql/ca.crt{{ else }}""{{ end }}
SHELFCAST_REDIS_CA: {{ if include "shelfcast.hasCA" $v.redis.ca }}/etc/shelfcast/redis/ca.crt{{ else }}""{{ end }}
SHELFCAST_ADMIN_HOSTS: {{ include "shelfcast.adminHosts" . | quote }}
SHELFCAST_ADMIN_CALLS_PER_MINUTE: {{ int64 $v.admin.callsPerMinute | quote }}
SHELFCAST_ADMIN_INVALID_TOKENS_PER_MINUTE: {{ int64 $v.admin.invalidTokensPerMinute | quote }}
SHELFCAST_JWT_JWKS: {{ $v.admin.jwt.jwks | quote }}
SHELFCAST_JWT_ISSUER: {{ $v.admin.jwt.issuer | quote }}
SHELFCAST_JWT_AUDIENCE: {{ $v.admin.jwt.audience | quote }}
SHELFCAST_JWT_SCOPE_CLAIM: {{ $v.admin.jwt.scopeClaim | quote }}
SHELFCAST_JWT_NAME_CLAIM: {{ $v.admin.jwt.nameClaim | quote }}
SHELFCAST_JWT_TYP: {{ $v.admin.jwt.typ | quote }}
SHELFCAST_SHOP_NAME: {{ $v.shop.name | quote }}
SHELFCAST_PUBLIC_URL: {{ $v.shop.publicUrl | quote }}
SHELFCAST_LOCALES: {{ join "," $v.shop.locales | quote }}
SHELFCAST_ALLOW_VIDEOS: {{ if $v.shop.allowVideos }}"true"{{ else }}""{{ end }}
SHELFCAST_PAGE_SIZE: {{ int64 $v.shop.pageSize | quote }}
SHELFCAST_SEARCHES_PER_MINUTE: {{ int64 $v.shop.searchesPerMinute | quote }}
SHELFCAST_ORIGINS: {{ join "," $v.shop.origins | quote }}
SHELFCAST_TEMPLATES: {{ include "shelfcast.folder" (dict "name" "templates" "folder" $v.shop.templates) | quote }}
SHELFCAST_ASSETS: {{ include "shelfcast.folder" (dict "name" "assets" "folder" $v.shop.assets) | quote }}
SHELFCAST_ODOO_CHANNEL: {{ $v.shop.odoo.channel | quote }}
SHELFCAST_ODOO_REDELIVERY_DELAY: {{ $v.shop.odoo.redeliveryDelay | quote }}
SHELFCAST_ODOO_VIEW: {{ $v.shop.odoo.view | quote }}
SHELFCAST_MAX_SESSIONS: {{ int64 $v.sessions.max | quote }}
SHELFCAST_NEW_SESSIONS_PER_SECOND: {{ int64 $v.sessions.newPerSecond | quote }}
SHELFCAST_MAX_SESSIONS_PER_ADDRESS: {{ int64 $v.sessions.maxPerAddress | quote }}
SHELFCAST_NEW_SESSIONS_PER_SECOND_PER_ADDRESS: {{ int64 $v.sessions.newPerSecondPerAddress | quote }}
SHELFCAST_PING_INTERVAL: {{ $v.sessions.pingInterval | quote }}
SHELFCAST_MAX_SESSION_AGE: {{ $v.sessions.maxAge | quote }}
SHELFCAST_MAX_PRODUCTS_PER_SESSION: {{ int64 $v.sessions.maxProducts | quote }}
SHELFCAST_FRAGMENT_MEMORY: {{ int64 $v.cache.memory | quote }}
SHELFCAST_MAX_CONCURRENT_LOADS: {{ int64 $v.cache.maxConcurrentLoads | quote }}
SHELFCAST_TRUSTED_PROXIES: {{ join "," $v.trustedProxies | quote }}
SHELFCAST_DRAIN_TIME: {{ printf "%ds" (int64 $v.drainSeconds) | quote }}
SHELFCAST_OTLP_ENDPOINT: {{ $v.traces.endpoint | quote }}
SHELFCAST_TRACE_RATIO: {{ if $v.traces.endpoint }}{{ toString $v.traces.ratio | quote }}{{ else }}""{{ end }}
SHELFCAST_LOG_LEVEL: {{ $v.log.level | quote }}
SHELFCAST_LOG_FORMAT: {{ $v.log.format | quote }}
{{- end -}}

{{/* The names that the admin app answers to: those of its Service, and the owner's. Probes and scrapes come by address. */}}
{{- define "shelfcast.adminHosts" -}}
{{- $service := printf "%s-admin" (include "shelfcast.fullname" .) -}}
{{- $ns := .Release.Namespace -}}
{{- $own := list $service (printf "%s.%s" $service $ns) (printf "%s.%s.svc" $service $ns) (printf "%s.%s.svc.cluster.local" $service $ns) -}}
{{- concat $own .Values.admin.hosts | uniq | join "," -}}
{{- end -}}

{{/* Where the shop owner's templates or assets are, if there are any: name, folder. */}}
{{- define "shelfcast.folder" -}}
{{- if .folder.path -}}
{{- .folder.path -}}
{{- else if or .folder.files .folder.existingConfigMap -}}
/etc/shelfcast/{{ .name }}/..data
{{- end -}}
{{- end -}}

{{/* The memory that Go's collector keeps to, so that it works harder rather than the kernel killing the pod. */}}
{{- define "shelfcast.goMemory" -}}
{{- with .Values.resources.limits }}
{{- with .memory }}
{{- $left := sub (include "shelfcast.mebibytes" . | int64) (include "shelfcast.kernelMemory" $ | int64) -}}
{{- div (mul $left 9) 10 -}}MiB
{{- end }}
{{- end }}
{{- end -}}

{{/* Without a limit Go would start as many threads as the node has processors. */}}
{{- define "shelfcast.goProcesses" -}}
{{- $limits := default dict .Values.resources.limits -}}
{{- $requests := default dict .Values.resources.requests -}}
{{- if and (not (hasKey $limits "cpu")) (hasKey $requests "cpu") -}}
{{- max 2 (divf (mul 2 (include "shelfcast.millis" $requests.cpu | int64)) 1000 | ceil | int64) -}}
{{- end -}}
{{- end -}}

{{/* The environment of a pod that serves. */}}
{{- define "shelfcast.env" -}}
{{- $extra := include "shelfcast.extraNames" . | splitList " " -}}
{{- $go := dict "GOMEMLIMIT" (include "shelfcast.goMemory" .) "GOMAXPROCS" (include "shelfcast.goProcesses" .) -}}
{{- range $name, $value := $go }}
{{- if and $value (not (has $name $extra)) }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- include "shelfcast.secretEnvOf" (dict "root" . "of" "mysql" "name" "SHELFCAST_MYSQL") }}
{{- include "shelfcast.secretEnvOf" (dict "root" . "of" "mysqlReplica" "name" "SHELFCAST_MYSQL_REPLICA") }}
{{- include "shelfcast.secretEnvOf" (dict "root" . "of" "redis" "name" "SHELFCAST_REDIS") }}
{{- include "shelfcast.secretEnvOf" (dict "root" . "of" "adminToken" "name" "SHELFCAST_ADMIN_TOKEN") }}
{{- range $name, $value := include "shelfcast.settings" . | fromYaml }}
{{- if $value }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
