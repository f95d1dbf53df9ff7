{{/*
What each controller has to be told, so that connections that say nothing for a
while stay open (something passes each 45 s), and that a pod that is not ready is
asked no more. No stickiness: any pod can serve any page.
*/}}
{{- define "shelfcast.ingressAnnotations" -}}
{{- $preset := .Values.ingress.preset -}}
{{- if eq $preset "nginx" -}}
nginx.ingress.kubernetes.io/proxy-connect-timeout: "2"
nginx.ingress.kubernetes.io/proxy-read-timeout: "3600"
nginx.ingress.kubernetes.io/proxy-send-timeout: "3600"
# A pod that is full or about to go says 503; another one is asked.
nginx.ingress.kubernetes.io/proxy-next-upstream: error timeout http_503
nginx.ingress.kubernetes.io/proxy-next-upstream-tries: "2"
nginx.ingress.kubernetes.io/proxy-next-upstream-timeout: "5"
{{- else if eq $preset "haproxy" -}}
# Of event streams, which say something each 25 s. WebSockets have timeout-tunnel, which is the controller's and 1h.
haproxy.org/timeout-server: 60s
haproxy.org/check: "true"
haproxy.org/check-http: /readyz
haproxy.org/check-interval: 1s
haproxy.org/load-balance: leastconn
# It is appended to what the visitor says, which an instance reads from the right. The others
# that a visitor may send are taken off; where the controller has snippets disabled no instance reads them.
haproxy.org/forwarded-for: "true"
# A pod that is full or about to go says 503 to those who would open a session; another one is asked.
haproxy.org/backend-config-snippet: |
  retries 2
  option redispatch 1
  retry-on conn-failure empty-response 503
  http-request disable-l7-retry unless { path /live /websocket } or { path_beg /live/ }
  http-request del-header ^(x[-_]forwarded[-_](host|port|server|prefix)|x[-_]real[-_]ip|forwarded)$ -m reg
{{- else if eq $preset "traefik" -}}
# Traefik has no time-out of connections that were upgraded, or of answers.
{{- if .Values.ingress.tls }}
traefik.ingress.kubernetes.io/router.entrypoints: websecure
traefik.ingress.kubernetes.io/router.tls: "true"
{{- else }}
traefik.ingress.kubernetes.io/router.entrypoints: web
{{- end }}
{{- else if eq $preset "alb" -}}
alb.ingress.kubernetes.io/scheme: internet-facing
alb.ingress.kubernetes.io/target-type: ip
alb.ingress.kubernetes.io/listen-ports: '[{"HTTP":80},{"HTTPS":443}]'
alb.ingress.kubernetes.io/ssl-redirect: "443"
# It appends the visitor's address to X-Forwarded-For, which an instance reads from the right. X-Forwarded-Host
# it passes on as the visitor has it: no instance reads that. Host goes through as it came, so that origins can be compared.
alb.ingress.kubernetes.io/load-balancer-attributes: idle_timeout.timeout_seconds=3600,routing.http.xff_header_processing.mode=append,routing.http.xff_client_port.enabled=false,routing.http.preserve_host_header.enabled=true,routing.http.drop_invalid_header_fields.enabled=true
# What is still open when a pod has had its time is cut off; by then nothing is.
alb.ingress.kubernetes.io/target-group-attributes: deregistration_delay.timeout_seconds={{ include "shelfcast.grace" . }},load_balancing.algorithm.type=least_outstanding_requests
alb.ingress.kubernetes.io/healthcheck-path: /readyz
alb.ingress.kubernetes.io/healthcheck-interval-seconds: "5"
alb.ingress.kubernetes.io/healthcheck-timeout-seconds: "2"
alb.ingress.kubernetes.io/healthy-threshold-count: "2"
alb.ingress.kubernetes.io/unhealthy-threshold-count: "2"
alb.ingress.kubernetes.io/success-codes: "200"
{{- end -}}
{{- end -}}

{{/* Where each controller is when it is installed as its makers say. */}}
{{- define "shelfcast.ingressNamespace" -}}
{{- if .Values.ingress.enabled -}}
{{- get (dict "nginx" "ingress-nginx" "haproxy" "haproxy-controller" "traefik" "traefik") .Values.ingress.preset -}}
{{- end -}}
{{- end -}}
