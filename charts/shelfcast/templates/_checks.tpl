{{/*
Values that must not be installed, as sentences that say what to do. The schema checks single
values; these check combinations.
*/}}
{{- define "shelfcast.check" -}}
{{- $problems := list -}}
{{- range $part := list "secrets" "pods" "scaling" "entry" "network" "extra" -}}
{{- range include (printf "shelfcast.check.%s" $part) $ | splitList "\n" -}}
{{- with trim . }}{{ $problems = append $problems . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n\nThe chart refuses these values:\n  - %s\n" (join "\n  - " $problems)) -}}
{{- end -}}
{{- end -}}

{{- define "shelfcast.check.secrets" -}}
{{- $v := .Values -}}
{{- if not (include "shelfcast.given" (dict "root" . "of" "mysql")) }}
There is no database: set existingSecret to a Secret with the DSN, or mysql.dsn to the DSN itself.
{{ end -}}
{{- if and $v.existingSecret (or $v.mysql.dsn $v.mysql.replicaDsn $v.redis.url $v.admin.token) }}
existingSecret cannot be combined with mysql.dsn, mysql.replicaDsn, redis.url and admin.token: put all of them into the Secret, or none.
{{ end -}}
{{- if and (gt (include "shelfcast.most" . | int) 1) (not (include "shelfcast.given" (dict "root" . "of" "redis"))) }}
Several pods need Redis, or pages get edits made on other pods late: set redis.url or a key of existingSecret, or replicaCount to 1 without autoscaling.
{{ end -}}
{{- if and $v.admin.token (lt (len $v.admin.token) 16) }}
admin.token has fewer than 16 characters and could be guessed: generate one with `openssl rand -hex 24`.
{{ end -}}
{{- range $name, $ca := dict "mysql.ca" $v.mysql.ca "redis.ca" $v.redis.ca -}}
{{- if gt (len (compact (list $ca.pem $ca.existingSecret $ca.existingConfigMap))) 1 }}
{{ $name }} has more than one source: keep one of pem, existingSecret and existingConfigMap.
{{ end -}}
{{- end -}}
{{- if and (include "shelfcast.hasCA" $v.redis.ca) $v.redis.url (not (hasPrefix "rediss" $v.redis.url)) }}
redis.ca is set, but redis.url does not use TLS: start it with rediss://, or remove redis.ca.
{{ end -}}
{{- if and (not $v.admin.jwt.jwks) (or $v.admin.jwt.issuer $v.admin.jwt.audience) }}
admin.jwt.issuer and admin.jwt.audience are have no effect without admin.jwt.jwks: set it, or remove them.
{{ end -}}
{{- if and $v.migration.dsn $v.migration.existingSecret }}
migration.dsn cannot be combined with migration.existingSecret: keep one of the two.
{{ end -}}
{{- end -}}

{{- define "shelfcast.check.pods" -}}
{{- $v := .Values -}}
{{- $needed := include "shelfcast.neededGrace" . | int64 -}}
{{- if lt (include "shelfcast.grace" . | int64) $needed }}
terminationGracePeriodSeconds ({{ include "shelfcast.grace" . }}) is shorter than the drain: with drainSeconds {{ int64 $v.drainSeconds }} a pod may take {{ $needed }} seconds, and would be killed with open sessions. Remove terminationGracePeriodSeconds, or lower drainSeconds.
{{ end -}}
{{- with (default dict $v.resources.limits).memory -}}
{{- $has := include "shelfcast.mebibytes" . | int64 -}}
{{- $needs := include "shelfcast.neededMemory" $ | int64 -}}
{{- if lt $has $needs }}
resources.limits.memory ({{ . }}) is less than a pod with sessions.max {{ int64 $v.sessions.max }} and cache.memory {{ int64 $v.cache.memory }} needs, and it would be killed under load: set {{ $needs }}Mi or more, or lower sessions.max.
{{ end -}}
{{- end -}}
{{- $fewest := include "shelfcast.fewest" . | int64 -}}
{{- $closed := divf (mul 2 (int64 $v.sessions.max)) (int64 $v.drainSeconds) | ceil | int64 -}}
{{- if and (gt $fewest 1) (gt $closed (mul $fewest (int64 $v.sessions.newPerSecond))) }}
A full pod that drains closes {{ $closed }} sessions per second, and {{ $fewest }} pods accept {{ mul $fewest (int64 $v.sessions.newPerSecond) }} at sessions.newPerSecond {{ int64 $v.sessions.newPerSecond }}: a deploy would cause a storm of refused sessions. Set drainSeconds to {{ divf (mul 2 (int64 $v.sessions.max)) (mul $fewest (int64 $v.sessions.newPerSecond)) | ceil | int64 }} or more, or raise sessions.newPerSecond.
{{ end -}}
{{- if regexMatch "^0+%?$" (toString $v.maxSurge) }}
maxSurge is 0, and no pod may be unavailable during a rollout, so that no pod could be replaced. Set it to 1 or more.
{{ end -}}
{{- $budget := $v.podDisruptionBudget -}}
{{- if $budget.enabled -}}
{{- if and (not (kindIs "invalid" $budget.maxUnavailable)) (not (kindIs "invalid" $budget.minAvailable)) }}
podDisruptionBudget has both maxUnavailable and minAvailable, and Kubernetes accepts only one: set the other to null.
{{ else if not (kindIs "invalid" $budget.maxUnavailable) -}}
{{- if regexMatch "^0+%?$" (toString $budget.maxUnavailable) }}
podDisruptionBudget.maxUnavailable is 0 and blocks every eviction, so that no node can be drained: set it to 1 or more.
{{ end -}}
{{- else if not (kindIs "invalid" $budget.minAvailable) -}}
{{- $least := toString $budget.minAvailable -}}
{{- $stay := int64 $budget.minAvailable -}}
{{- if hasSuffix "%" $least -}}
{{- $stay = divf (mulf (trimSuffix "%" $least | float64) (float64 $fewest)) 100 | ceil | int64 -}}
{{- end -}}
{{- if ge $stay $fewest }}
podDisruptionBudget.minAvailable ({{ $least }}) equals the minimum of {{ $fewest }} {{ if eq $fewest 1 }}pod{{ else }}pods{{ end }} and blocks every eviction, so that no node can be drained: set it to null, or run more pods.
{{ end -}}
{{- end -}}
{{- end -}}
{{- range $name, $folder := dict "shop.templates" $v.shop.templates "shop.assets" $v.shop.assets -}}
{{- if gt (len (compact (list (ternary "files" "" (gt (len $folder.files) 0)) $folder.existingConfigMap $folder.path))) 1 }}
{{ $name }} has more than one source: keep one of files, existingConfigMap and path.
{{ end -}}
{{- if and $folder.items (not $folder.existingConfigMap) }}
{{ $name }}.items has no effect without {{ $name }}.existingConfigMap: set it, or remove items.
{{ end -}}
{{- end -}}
{{- end -}}

{{- define "shelfcast.check.scaling" -}}
{{- $v := .Values -}}
{{- $a := $v.autoscaling -}}
{{- if $a.enabled -}}
{{- if not (kindIs "invalid" $v.replicaCount) }}
replicaCount ({{ $v.replicaCount }}) and autoscaling.enabled cannot be combined, because each upgrade would undo the autoscaler's scaling: remove replicaCount, or turn autoscaling off.
{{ end -}}
{{- if gt (int64 $a.minReplicas) (int64 $a.maxReplicas) }}
autoscaling.minReplicas ({{ $a.minReplicas }}) is more than autoscaling.maxReplicas ({{ $a.maxReplicas }}): raise the latter.
{{ end -}}
{{- if not (or (gt (int64 $a.targetCPU) 0) (gt (int64 $a.targetSessions) 0)) }}
autoscaling.enabled has no target: set autoscaling.targetCPU or autoscaling.targetSessions.
{{ end -}}
{{- if ge (int64 $a.targetSessions) (int64 $v.sessions.max) }}
autoscaling.targetSessions ({{ int64 $a.targetSessions }}) is not below the limit of a pod, sessions.max ({{ int64 $v.sessions.max }}), so that shoppers would be refused before another pod starts: set it to {{ div (mul (int64 $v.sessions.max) 6) 10 }}, or raise sessions.max.
{{ end -}}
{{- if and (gt (int64 $a.targetCPU) 0) (not (hasKey (default dict $v.resources.requests) "cpu")) }}
autoscaling.targetCPU is a percentage of resources.requests.cpu, which is not set: set it, or autoscaling.targetCPU to 0.
{{ end -}}
{{- if and (eq $a.kind "keda") (gt (int64 $a.targetSessions) 0) (not $a.keda.prometheusAddress) }}
autoscaling.kind keda asks Prometheus for the sessions: set autoscaling.keda.prometheusAddress, or autoscaling.targetSessions to 0.
{{ end -}}
{{- end -}}
{{- end -}}

{{- define "shelfcast.check.entry" -}}
{{- $v := .Values -}}
{{- range $name, $entry := dict "ingress" $v.ingress "httpRoute" $v.httpRoute -}}
{{- if $entry.enabled -}}
{{- if not $entry.hosts }}
{{ $name }}.enabled needs {{ $name }}.hosts, or it would serve every host name: list the shop's.
{{ end -}}
{{- range $entry.paths -}}
{{- if regexMatch "^/(admin|api|metrics)(/|$)" .path }}
{{ $name }}.paths has {{ .path }}, which belongs to the admin app, and must never be exposed: remove it. Staff and programs use the admin Service, from inside the cluster or with `kubectl port-forward`.
{{ end -}}
{{- end -}}
{{- if and (gt (add (int64 $v.sessions.maxPerAddress) (int64 $v.shop.searchesPerMinute)) 0) (not $v.trustedProxies) }}
With {{ $name }}.enabled and no trustedProxies all shoppers have the load balancer's address, and share the limits sessions.maxPerAddress ({{ int64 $v.sessions.maxPerAddress }}) and shop.searchesPerMinute ({{ int64 $v.shop.searchesPerMinute }}): list its networks in trustedProxies, or set both to 0.
{{ end -}}
{{- end -}}
{{- end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) }}
httpRoute.enabled needs a Gateway: set httpRoute.parentRefs.
{{ end -}}
{{- if and (ne $v.service.public.type "ClusterIP") (ne $v.service.public.externalTrafficPolicy "Local") (gt (add (int64 $v.sessions.maxPerAddress) (int64 $v.shop.searchesPerMinute)) 0) (not $v.trustedProxies) }}
service.public.type {{ $v.service.public.type }} replaces the shoppers' addresses by the nodes', which share the limits sessions.maxPerAddress ({{ int64 $v.sessions.maxPerAddress }}) and shop.searchesPerMinute ({{ int64 $v.shop.searchesPerMinute }}): set service.public.externalTrafficPolicy to Local, or both to 0.
{{ end -}}
{{- end -}}

{{- define "shelfcast.check.network" -}}
{{- $v := .Values -}}
{{- $n := $v.networkPolicy -}}
{{- if $n.enabled -}}
{{- if and $v.metrics.serviceMonitor.enabled (not $n.prometheusFrom) }}
metrics.serviceMonitor.enabled needs networkPolicy.prometheusFrom, or Prometheus is blocked: list its namespace.
{{ end -}}
{{- range $name, $dsn := dict "mysql.dsn" $v.mysql.dsn "mysql.replicaDsn" $v.mysql.replicaDsn "migration.dsn" $v.migration.dsn -}}
{{- $port := regexFind ":[0-9]+\\)/[^()]*$" $dsn | regexFind "[0-9]+" -}}
{{- if and $port (not (has $port (include "shelfcast.strings" $n.mysqlPorts | splitList " "))) }}
{{ $name }} is on port {{ $port }}, which the network policy blocks: add it to networkPolicy.mysqlPorts.
{{ end -}}
{{- end -}}
{{- range regexFindAll ":[0-9]+" (regexReplaceAll "^[a-z+]+://([^@/]*@)?|(username|password)=[^&]*" $v.redis.url "") -1 -}}
{{- $port := trimPrefix ":" . -}}
{{- if not (has $port (include "shelfcast.strings" $n.redisPorts | splitList " ")) }}
redis.url is on port {{ $port }}, which the network policy blocks: add it to networkPolicy.redisPorts.
{{ end -}}
{{- end -}}
{{- if and $v.redis.url (contains "master_name=" $v.redis.url) (eq (len $n.redisPorts) 1) }}
redis.url names Sentinels, whose servers use another port: list both in networkPolicy.redisPorts, as [26379, 6379].
{{ end -}}
{{- end -}}
{{- end -}}

{{/* Numbers with blanks between them. */}}
{{- define "shelfcast.strings" -}}
{{- range . }}{{ int64 . }} {{ end -}}
{{- end -}}

{{- define "shelfcast.check.extra" -}}
{{- $settings := include "shelfcast.settings" . | fromYaml -}}
{{- range .Values.extraEnv -}}
{{- if hasKey $settings .name }}
extraEnv sets {{ .name }}, for which the chart has a value of its own: set that instead, because other settings are computed from it.
{{ end -}}
{{- end -}}
{{- end -}}
