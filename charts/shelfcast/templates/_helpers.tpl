{{- define "shelfcast.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* The longest suffix is "-headless": a Service's name has 63 characters at most. */}}
{{- define "shelfcast.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "shelfcast.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "shelfcast.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What never changes in the life of a release: a Deployment's selector cannot. */}}
{{- define "shelfcast.selector" -}}
app.kubernetes.io/name: {{ include "shelfcast.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "shelfcast.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "shelfcast.podLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* Without the chart's version: another chart with the same pods is no reason to replace them. */}}
{{- define "shelfcast.podLabels" -}}
{{ include "shelfcast.selector" . }}
app.kubernetes.io/version: {{ default .Chart.AppVersion .Values.image.tag | trunc 63 | trimSuffix "-" | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "shelfcast.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "shelfcast.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "shelfcast.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The fewest pods that there are when all is well. */}}
{{- define "shelfcast.fewest" -}}
{{- if .Values.autoscaling.enabled -}}
{{- .Values.autoscaling.minReplicas -}}
{{- else if kindIs "invalid" .Values.replicaCount -}}
2
{{- else -}}
{{- .Values.replicaCount -}}
{{- end -}}
{{- end -}}

{{/* The most pods that there are. */}}
{{- define "shelfcast.most" -}}
{{- if .Values.autoscaling.enabled -}}
{{- .Values.autoscaling.maxReplicas -}}
{{- else -}}
{{- include "shelfcast.fewest" . -}}
{{- end -}}
{{- end -}}

{{/*
preStop, in seconds: until it is over the instance is as it was, and the cluster
takes it off its lists meanwhile. An ALB takes longer to hear of it.
*/}}
{{- define "shelfcast.preStop" -}}
{{- $quarter := divf (float64 .Values.drainSeconds) 4 | ceil | int64 -}}
{{- if and .Values.ingress.enabled (eq .Values.ingress.preset "alb") -}}
{{- max 15 $quarter -}}
{{- else -}}
{{- $quarter -}}
{{- end -}}
{{- end -}}

{{/*
What an instance may take from the order to end to its end, in seconds: preStop,
the drain, the requests that are under way then, and a little to spare.
*/}}
{{- define "shelfcast.neededGrace" -}}
{{- $quarter := divf (float64 .Values.drainSeconds) 4 | ceil | int64 -}}
{{- add (include "shelfcast.preStop" . | int64) (int64 .Values.drainSeconds) (max 6 $quarter) 5 -}}
{{- end -}}

{{- define "shelfcast.grace" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- include "shelfcast.neededGrace" . -}}
{{- else -}}
{{- int64 .Values.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}

{{/* A quantity of memory in MiB, rounded down. */}}
{{- define "shelfcast.mebibytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 -}}
{{- $text := . -}}
{{- if not (kindIs "string" .) }}{{ $text = int64 . | toString }}{{ end -}}
{{- $unit := regexFind "[A-Za-z]*$" $text -}}
{{- if or (not (regexMatch "^[0-9]+(\\.[0-9]+)?[A-Za-z]*$" $text)) (not (hasKey $units $unit)) -}}
{{- fail (printf "resources: %s is not a memory quantity that the chart understands: write it as 512Mi or 1Gi" $text) -}}
{{- end -}}
{{- divf (mulf (trimSuffix $unit $text | float64) (get $units $unit)) 1048576 | floor | int64 -}}
{{- end -}}

{{/* A quantity of CPU in thousandths. */}}
{{- define "shelfcast.millis" -}}
{{- $text := toString . -}}
{{- if hasSuffix "m" $text -}}
{{- trimSuffix "m" $text | float64 | int64 -}}
{{- else -}}
{{- mulf (float64 $text) 1000 | int64 -}}
{{- end -}}
{{- end -}}

{{/*
What the kernel needs for the sessions of a pod, in MiB: 4 KiB each. It counts
against the pod's limit, and the program does not see it.
*/}}
{{- define "shelfcast.kernelMemory" -}}
{{- div (mul (int64 .Values.sessions.max) 4) 1024 -}}
{{- end -}}

{{/* What a pod needs with all its sessions, in MiB: 4.5 KiB each, the fragments, and the program. */}}
{{- define "shelfcast.neededMemory" -}}
{{- add (include "shelfcast.kernelMemory" . | int64) (div (mul (int64 .Values.sessions.max) 45) 10240) (int64 .Values.cache.memory) 64 -}}
{{- end -}}

{{/* Names of the environment variables of extraEnv, each followed by a blank. */}}
{{- define "shelfcast.extraNames" -}}
{{- range .Values.extraEnv }}{{ .name }} {{ end -}}
{{- end -}}

{{/* The Secret of what is in values. It is not the release's name, which one's own Secret may have. */}}
{{- define "shelfcast.secretName" -}}
{{ include "shelfcast.fullname" . }}-values
{{- end -}}

{{/* An environment variable of a Secret's key: name, secret, key. */}}
{{- define "shelfcast.secretEnv" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end -}}

{{/*
The Secret and the key of one of mysql, mysqlReplica, redis and adminToken, as
"secret/key"; empty where there is none, or extraEnv has it.
*/}}
{{- define "shelfcast.secretRef" -}}
{{- $keys := dict "mysql" "mysql" "mysqlReplica" "mysql-replica" "redis" "redis" "adminToken" "admin-token" -}}
{{- $values := dict "mysql" .root.Values.mysql.dsn "mysqlReplica" .root.Values.mysql.replicaDsn "redis" .root.Values.redis.url "adminToken" .root.Values.admin.token -}}
{{- if .root.Values.existingSecret -}}
{{- with get .root.Values.existingSecretKeys .of -}}
{{- printf "%s/%s" $.root.Values.existingSecret . -}}
{{- end -}}
{{- else if get $values .of -}}
{{- printf "%s/%s" (include "shelfcast.secretName" .root) (get $keys .of) -}}
{{- end -}}
{{- end -}}

{{/* Whether there is one of mysql, mysqlReplica, redis and adminToken, wherever it is from. */}}
{{- define "shelfcast.given" -}}
{{- $env := dict "mysql" "SHELFCAST_MYSQL" "mysqlReplica" "SHELFCAST_MYSQL_REPLICA" "redis" "SHELFCAST_REDIS" "adminToken" "SHELFCAST_ADMIN_TOKEN" -}}
{{- if or (include "shelfcast.secretRef" .) (has (get $env .of) (include "shelfcast.extraNames" .root | splitList " ")) -}}
yes
{{- end -}}
{{- end -}}

{{/* The environment variable of one of them, if the chart has it: of, name, root. */}}
{{- define "shelfcast.secretEnvOf" -}}
{{- $ref := include "shelfcast.secretRef" . | splitList "/" -}}
{{- if and (eq (len $ref) 2) (not (has .name (include "shelfcast.extraNames" .root | splitList " "))) }}
{{ include "shelfcast.secretEnv" (dict "name" .name "secret" (first $ref) "key" (last $ref)) }}
{{- end -}}
{{- end -}}

{{/* Whether certificates of an authority are given: the ca of mysql or redis. */}}
{{- define "shelfcast.hasCA" -}}
{{- if or .pem .existingSecret .existingConfigMap }}yes{{ end -}}
{{- end -}}

{{- define "shelfcast.podSecurity" -}}
runAsNonRoot: true
{{- range $name := list "runAsUser" "runAsGroup" "fsGroup" }}
{{- with get $.Values.podSecurityContext $name }}
{{ $name }}: {{ int64 . }}
{{- end }}
{{- end }}
{{- with .Values.podSecurityContext.seLinuxOptions }}
seLinuxOptions:
  {{- toYaml . | nindent 2 }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "shelfcast.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What all pods of the chart have, but for containers and volumes. */}}
{{- define "shelfcast.pod" -}}
automountServiceAccountToken: false
# A Service named shelfcast would give SHELFCAST_… variables, which are settings here.
enableServiceLinks: false
securityContext:
  {{- include "shelfcast.podSecurity" . | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}
