{{/*
What must not be installed, as a list of sentences that say what to do. The schema
knows what a value may be; here is what may not be together.
*/}}
{{- define "shelfcast.check" -}}
{{- $problems := list -}}
{{- range $part := list "secrets" "pods" "scaling" "entry" "network" "extra" -}}
{{- range include (printf "shelfcast.check.%s" $part) $ | splitList "\n" -}}
{{- with trim . }}{{ $problems = append $problems . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n\nThis is not installed:\n  - %s\n" (join "\n  - " $problems)) -}}
{{- end -}}
{{- end -}}

{{- define "shelfcast.check.secrets" -}}
{{- $v := .Values -}}
{{- if not (include "shelfcast.given" (dict "root" . "of" "mysql")) }}
There is no database: set existingSecret to a Secret with the DSN, or mysql.dsn to the DSN itself.
{{ end -}}
{{- if and $v.existingSecret (or $v.mysql.dsn $v.mysql.replicaDsn $v.redis.url $v.admin.token) }}
existingSecret is at odds with mysql.dsn, mysql.replicaDsn, redis.url and admin.token: put all of them into the Secret, or none.
{{ end -}}
{{- if and (gt (include "shelfcast.most" . | int) 1) (not (include "shelfcast.given" (dict "root" . "of" "redis"))) }}
Several pods need Redis, or the pages of one hear of another's edits late only: set redis.url or a key of existingSecret, or replicaCount to 1 without autoscaling.
{{ end -}}
{{- if and $v.admin.token (lt (len $v.admin.token) 16) }}
admin.token has fewer than 16 characters and could be guessed: make one with `openssl rand -hex 24`.
{{ end -}}
{{- range $name, $ca := dict "mysql.ca" $v.mysql.ca "redis.ca" $v.redis.ca -}}
{{- if gt (len (compact (list $ca.pem $ca.existingSecret $ca.existingConfigMap))) 1 }}
{{ $name }} is given more than once: keep one of pem, existingSecret and existingConfigMap.
{{ end -}}
{{- end -}}
{{- if and (include "shelfcast.hasCA" $v.redis.ca) $v.redis.url (not (hasPrefix "rediss" $v.redis.url)) }}
redis.ca is given, and redis.url does not speak TLS: begin it with rediss://, or take redis.ca away.
{{ end -}}
{{- if and (not $v.admin.jwt.jwks) (or $v.admin.jwt.issuer $v.admin.jwt.audience) }}
admin.jwt.issuer and admin.jwt.audience are of no use without admin.jwt.jwks: set it, or take them away.
{{ end -}}
{{- if and $v.migration.dsn $v.migration.existingSecret }}
migration.dsn is at odds with migration.existingSecret: keep one of the two.
{{ end -}}
{{- end -}}

{{- define "shelfcast.check.pods" -}}
{{- $v := .Values -}}
{{- $needed := include "shelfcast.neededGrace" . | int64 -}}
{{- if lt (include "shelfcast.grace" . | int64) $needed }}
terminationGracePeriodSeconds ({{ include "shelfcast.grace" . }}) is shorter than the drain: with drainSeconds {{ int64 $v.drainSeconds }} a pod may take {{ $needed }} seconds, and would be killed with sessions open. Take terminationGracePeriodSeconds away, or lower drainSeconds.
{{ end -}}
{{- with (default dict $v.resources.limits).memory -}}
{{- $has := include "shelfcast.mebibytes" . | int64 -}}
{{- $needs := include "shelfcast.neededMemory" $ | int64 -}}
{{- if lt $has $needs }}
resources.limits.memory ({{ . }}) is less than a pod with sessions.max {{ int64 $v.sessions.max }} and cache.memory {{ int64 $v.cache.memory }} needs, and it would be killed when it is busiest: set {{ $needs }}Mi or more, or lower sessions.max.
{{ end -}}
{{- end -}}
{{- $fewest := include "shelfcast.fewest" . | int64 -}}
{{- $closed := divf (mul 2 (int64 $v.sessions.max)) (int64 $v.drainSeconds) | ceil | int64 -}}
{{- if and (gt $fewest 1) (gt $closed (mul $fewest (int64 $v.sessions.joinRate))) }}
A full pod that drains sends away {{ $closed }} sessions a second, and {{ $fewest }} pods take {{ mul $fewest (int64 $v.sessions.joinRate) }} at sessions.joinRate {{ int64 $v.sessions.joinRate }}: a deploy would be a storm of refusals. Set drainSeconds to {{ divf (mul 2 (int64 $v.sessions.max)) (mul $fewest (int64 $v.sessions.joinRate)) | ceil | int64 }} or more, or raise sessions.joinRate.
{{ end -}}
{{- if regexMatch "^0+%?$" (toString $v.maxSurge) }}
maxSurge is 0, and no pod may be missing while pods are replaced: nothing could be replaced. Set it to 1 or more.
{{ end -}}
{{- $budget := $v.podDisruptionBudget -}}
{{- if $budget.enabled -}}
{{- if and (not (kindIs "invalid" $budget.maxUnavailable)) (not (kindIs "invalid" $budget.minAvailable)) }}
podDisruptionBudget has both maxUnavailable and minAvailable, and Kubernetes takes one: set the other to null.
{{ else if not (kindIs "invalid" $budget.maxUnavailable) -}}
{{- if regexMatch "^0+%?$" (toString $budget.maxUnavailable) }}
podDisruptionBudget.maxUnavailable is 0 and blocks every eviction, so that no node can be emptied: set it to 1 or more.
{{ end -}}
{{- else if not (kindIs "invalid" $budget.minAvailable) -}}
{{- $least := toString $budget.minAvailable -}}
{{- $stay := int64 $budget.minAvailable -}}
{{- if hasSuffix "%" $least -}}
{{- $stay = divf (mulf (trimSuffix "%" $least | float64) (float64 $fewest)) 100 | ceil | int64 -}}
{{- end -}}
{{- if ge $stay $fewest }}
podDisruptionBudget.minAvailable ({{ $least }}) is all of the {{ $fewest }} {{ if eq $fewest 1 }}pod that there is{{ else }}pods that there are at least{{ end }} and blocks every eviction, so that no node can be emptied: set it to null, or have more pods.
{{ end -}}
{{- end -}}
{{- end -}}
{{- range $name, $folder := dict "shop.templates" $v.shop.templates "shop.assets" $v.shop.assets -}}
{{- if gt (len (compact (list (ternary "files" "" (gt (len $folder.files) 0)) $folder.existingConfigMap $folder.path))) 1 }}
{{ $name }} is given more than once: keep one of files, existingConfigMap and path.
{{ end -}}
{{- if and $folder.items (not $folder.existingConfigMap) }}
{{ $name }}.items is of no use without {{ $name }}.existingConfigMap: set it, or take items away.
{{ end -}}
{{- end -}}
{{- end -}}

{{- define "shelfcast.check.scaling" -}}
{{- $v := .Values -}}
{{- $a := $v.autoscaling -}}
{{- if $a.enabled -}}
{{- if not (kindIs "invalid" $v.replicaCount) }}
replicaCount ({{ $v.replicaCount }}) and autoscaling.enabled are at odds, as each upgrade would undo what the autoscaler did: take replicaCount away, or turn autoscaling off.
{{ end -}}
{{- if gt (int64 $a.minReplicas) (int64 $a.maxReplicas) }}
autoscaling.minReplicas ({{ $a.minReplicas }}) is more than autoscaling.maxReplicas ({{ $a.maxReplicas }}): raise the latter.
{{ end -}}
{{- if not (or (gt (int64 $a.targetCPU) 0) (gt (int64 $a.targetSessions) 0)) }}
autoscaling.enabled has nothing to go by: set autoscaling.targetCPU or autoscaling.targetSessions.
{{ end -}}
{{- if ge (int64 $a.targetSessions) (int64 $v.sessions.max) }}
autoscaling.targetSessions ({{ int64 $a.targetSessions }}) is not below the budget of a pod, sessions.max ({{ int64 $v.sessions.max }}), so that shoppers would be refused before there is another pod: set it to {{ div (mul (int64 $v.sessions.max) 6) 10 }}, or raise sessions.max.
{{ end -}}
{{- if and (gt (int64 $a.targetCPU) 0) (not (hasKey (default dict $v.resources.requests) "cpu")) }}
autoscaling.targetCPU is a share of resources.requests.cpu, which is not there: set it, or autoscaling.targetCPU to 0.
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
{{ $name }}.enabled needs {{ $name }}.hosts, or it would answer for every host name: name the shop's.
{{ end -}}
{{- range $entry.paths -}}
{{- if regexMatch "^/(admin|api|metrics)(/|$)" .path }}
{{ $name }}.paths has {{ .path }}, which is the admin app's, and that is never to be reached from outside: take it away. Staff and programs come through the Service for admin, from inside or by `kubectl port-forward`.
{{ end -}}
{{- end -}}
{{- if and (gt (add (int64 $v.sessions.maxPerAddress) (int64 $v.shop.searchesPerMinute)) 0) (not $v.trustedProxies) }}
With {{ $name }}.enabled and no trustedProxies all shoppers are of the load balancer's address, and share what sessions.maxPerAddress ({{ int64 $v.sessions.maxPerAddress }}) and shop.searchesPerMinute ({{ int64 $v.shop.searchesPerMinute }}) let one have: name its networks in trustedProxies, or set both to 0.
{{ end -}}
{{- end -}}
{{- end -}}
{{- if and $v.httpRoute.enabled (not $v.httpRoute.parentRefs) }}
httpRoute.enabled needs a Gateway to be a route of: name it in httpRoute.parentRefs.
{{ end -}}
{{- if and (ne $v.service.public.type "ClusterIP") (ne $v.service.public.externalTrafficPolicy "Local") (gt (add (int64 $v.sessions.maxPerAddress) (int64 $v.shop.searchesPerMinute)) 0) (not $v.trustedProxies) }}
service.public.type {{ $v.service.public.type }} hides the shoppers' addresses behind the nodes', which share what sessions.maxPerAddress ({{ int64 $v.sessions.maxPerAddress }}) and shop.searchesPerMinute ({{ int64 $v.shop.searchesPerMinute }}) let one have: set service.public.externalTrafficPolicy to Local, or both to 0.
{{ end -}}
{{- end -}}

{{- define "shelfcast.check.network" -}}
{{- $v := .Values -}}
{{- $n := $v.networkPolicy -}}
{{- if $n.enabled -}}
{{- if and $v.metrics.serviceMonitor.enabled (not $n.prometheusFrom) }}
metrics.serviceMonitor.enabled needs networkPolicy.prometheusFrom, or Prometheus is not let in: name its namespace.
{{ end -}}
{{- range $name, $dsn := dict "mysql.dsn" $v.mysql.dsn "mysql.replicaDsn" $v.mysql.replicaDsn "migration.dsn" $v.migration.dsn -}}
{{- $port := regexFind ":[0-9]+\\)/[^()]*$" $dsn | regexFind "[0-9]+" -}}
{{- if and $port (not (has $port (include "shelfcast.strings" $n.mysqlPorts | splitList " "))) }}
{{ $name }} is on port {{ $port }}, which the network policy does not let through: name it in networkPolicy.mysqlPorts.
{{ end -}}
{{- end -}}
{{- range regexFindAll ":[0-9]+" (regexReplaceAll "^[a-z+]+://([^@/]*@)?|(username|password)=[^&]*" $v.redis.url "") -1 -}}
{{- $port := trimPrefix ":" . -}}
{{- if not (has $port (include "shelfcast.strings" $n.redisPorts | splitList " ")) }}
redis.url is on port {{ $port }}, which the network policy does not let through: name it in networkPolicy.redisPorts.
{{ end -}}
{{- end -}}
{{- if and $v.redis.url (contains "master_name=" $v.redis.url) (eq (len $n.redisPorts) 1) }}
redis.url names Sentinels, and behind them are servers on a port of their own: name both in networkPolicy.redisPorts, as [26379, 6379].
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
extraEnv sets {{ .name }}, for which the chart has a value of its own: set that, so that what depends on it is computed from it.
{{ end -}}
{{- end -}}
{{- end -}}
