package charttest

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// unsafe are combinations of values, each valid alone, on top of the default case, and the error
// that each gives.
var unsafe = []struct{ values, says string }{
	{"existingSecret: ''", "There is no database: set existingSecret"},
	{"existingSecretKeys: {mysql: ''}", "There is no database"},
	{"mysql: {dsn: 'u:p@tcp(db:3306)/shop'}", "existingSecret cannot be combined with mysql.dsn"},
	{"existingSecretKeys: {redis: ''}", "Several pods need Redis"},
	{"{existingSecret: '', mysql: {dsn: 'u:p@tcp(db:3306)/shop'}}", "Several pods need Redis"},
	{"{existingSecretKeys: {redis: ''}, autoscaling: {enabled: true, minReplicas: 1}}", "Several pods need Redis"},
	{"{existingSecret: '', mysql: {dsn: 'u:p@tcp(db:3306)/shop'}, redis: {url: 'redis://r'}, admin: {token: short}}",
		"admin.token has fewer than 16 characters"},
	{"mysql: {ca: {existingSecret: a, existingConfigMap: b}}", "mysql.ca has more than one source"},
	{"redis: {ca: {existingSecret: a, existingConfigMap: b}}", "redis.ca has more than one source"},
	{"{existingSecret: '', mysql: {dsn: 'u:p@tcp(db:3306)/shop'}, redis: {url: 'redis://r', ca: {existingSecret: a}}}",
		"redis.ca is set, but redis.url does not use TLS"},
	{"admin: {jwt: {issuer: 'https://id.example'}}", "have no effect without admin.jwt.jwks"},
	{"migration: {dsn: 'u:p@tcp(db:3306)/shop', existingSecret: a}",
		"migration.dsn cannot be combined with migration.existingSecret"},

	{"terminationGracePeriodSeconds: 35",
		"terminationGracePeriodSeconds (35) is shorter than the drain: with drainSeconds 20 a pod may take 36 seconds"},
	{"{drainSeconds: 60, terminationGracePeriodSeconds: 60}", "a pod may take 95 seconds"},
	{"{drainSeconds: 60, ingress: {preset: alb, enabled: true, hosts: [a.example]}, trustedProxies: [10.0.0.0/8], " +
		"terminationGracePeriodSeconds: 94}", "terminationGracePeriodSeconds (94)"},
	{"sessions: {max: 60000, newPerSecond: 10000}",
		"resources.limits.memory (512Mi) is less than a pod with sessions.max 60000 and cache.memory 64 needs"},
	{"resources: {limits: {memory: 128M}}", "resources.limits.memory (128M)"},
	{"resources: {limits: {memory: 1Pi}}", "1Pi is not a memory quantity that the chart understands"},
	{"drainSeconds: 8", "A full pod that drains closes 3750 sessions per second, and 2 pods accept 2000"},
	{"{replicaCount: 3, sessions: {newPerSecond: 100}}", "Set drainSeconds to 100 or more"},
	{"maxSurge: 0", "maxSurge is 0"},
	{"maxSurge: 0%", "maxSurge is 0"},
	{"podDisruptionBudget: {minAvailable: 1, maxUnavailable: 1}", "podDisruptionBudget has both"},
	{"podDisruptionBudget: {maxUnavailable: 0}", "podDisruptionBudget.maxUnavailable is 0 and blocks every eviction"},
	{"podDisruptionBudget: {maxUnavailable: 0%}", "podDisruptionBudget.maxUnavailable is 0 and blocks every eviction"},
	{"podDisruptionBudget: {minAvailable: 2}",
		"podDisruptionBudget.minAvailable (2) equals the minimum of 2 pods and blocks every eviction"},
	{"podDisruptionBudget: {minAvailable: 51%}", "podDisruptionBudget.minAvailable (51%)"},
	{"{replicaCount: 1, podDisruptionBudget: {minAvailable: 1}}", "equals the minimum of 1 pod and blocks every eviction"},
	{"{autoscaling: {enabled: true, minReplicas: 3}, podDisruptionBudget: {minAvailable: 3}}",
		"equals the minimum of 3 pods"},
	{"shop: {templates: {path: /a, existingConfigMap: b}}", "shop.templates has more than one source"},
	{"shop: {assets: {files: {shop.css: a}, existingConfigMap: b}}", "shop.assets has more than one source"},
	{"shop: {templates: {items: {a: views/card.html}}}",
		"shop.templates.items has no effect without shop.templates.existingConfigMap"},

	{"{replicaCount: 4, autoscaling: {enabled: true}}", "replicaCount (4) and autoscaling.enabled cannot be combined"},
	{"autoscaling: {enabled: true, minReplicas: 11}",
		"autoscaling.minReplicas (11) is more than autoscaling.maxReplicas (10)"},
	{"autoscaling: {enabled: true, targetCPU: 0, targetSessions: 0}", "autoscaling.enabled has no target"},
	{"autoscaling: {enabled: true, targetSessions: 15000}",
		"autoscaling.targetSessions (15000) is not below the limit of a pod, sessions.max (15000)"},
	{"{autoscaling: {enabled: true}, sessions: {max: 5000}}", "set it to 3000, or raise sessions.max"},
	{"{autoscaling: {enabled: true}, resources: {requests: {cpu: null}}}",
		"autoscaling.targetCPU is a percentage of resources.requests.cpu"},
	{"autoscaling: {enabled: true, kind: keda}", "set autoscaling.keda.prometheusAddress"},

	{"{ingress: {enabled: true}, trustedProxies: [10.0.0.0/8]}", "ingress.enabled needs ingress.hosts"},
	{"{httpRoute: {enabled: true, parentRefs: [{name: a}]}, trustedProxies: [10.0.0.0/8]}",
		"httpRoute.enabled needs httpRoute.hosts"},
	{"{httpRoute: {enabled: true, hosts: [a.example]}, trustedProxies: [10.0.0.0/8]}",
		"httpRoute.enabled needs a Gateway"},
	{"{ingress: {enabled: true, hosts: [a.example], paths: [{path: /admin, pathType: Prefix}]}, trustedProxies: " +
		"[10.0.0.0/8]}", "ingress.paths has /admin, which belongs to the admin app"},
	{"{ingress: {enabled: true, hosts: [a.example], paths: [{path: /api/v1, pathType: Prefix}]}, trustedProxies: " +
		"[10.0.0.0/8]}", "ingress.paths has /api/v1"},
	{"{httpRoute: {enabled: true, hosts: [a.example], parentRefs: [{name: a}], paths: [{path: /metrics, pathType: " +
		"Exact}]}, trustedProxies: [10.0.0.0/8]}", "httpRoute.paths has /metrics"},
	{"ingress: {enabled: true, hosts: [a.example]}",
		"With ingress.enabled and no trustedProxies all shoppers have the load balancer's address"},
	{"httpRoute: {enabled: true, hosts: [a.example], parentRefs: [{name: a}]}",
		"With httpRoute.enabled and no trustedProxies"},
	{"service: {public: {type: LoadBalancer}}", "set service.public.externalTrafficPolicy to Local"},

	{"{metrics: {serviceMonitor: {enabled: true}}, networkPolicy: {prometheusFrom: []}}",
		"metrics.serviceMonitor.enabled needs networkPolicy.prometheusFrom"},
	{"{existingSecret: '', mysql: {dsn: 'u:p@tcp(db:3307)/shop'}, redis: {url: 'redis://r'}}",
		"mysql.dsn is on port 3307, which the network policy blocks"},
	{"{existingSecret: '', mysql: {dsn: 'u:p@tcp(db:3306)/shop'}, redis: {url: 'redis://u:p@r:7000/0'}}",
		"redis.url is on port 7000, which the network policy blocks"},
	{"{existingSecret: '', mysql: {dsn: 'u:p@tcp(db:3306)/shop'}, redis: {url: 'redis+cluster://r:6379?addr=s:6390'}}",
		"redis.url is on port 6390"},
	{"{existingSecret: '', mysql: {dsn: 'u:p@tcp(db:3306)/shop'}, redis: {url: 'redis://s:26379/0?master_name=shop'}, " +
		"networkPolicy: {redisPorts: [26379]}}", "redis.url names Sentinels"},

	{"extraEnv: [{name: SHELFCAST_DRAIN_TIME, value: 5m}]",
		"extraEnv sets SHELFCAST_DRAIN_TIME, for which the chart has a value of its own"},
	{"extraEnv: [{name: SHELFCAST_JWT_JWKS, value: 'https://id.example'}]", "extraEnv sets SHELFCAST_JWT_JWKS"},
}

func TestUnsafeValuesAreRefused(t *testing.T) {
	var said strings.Builder
	for _, mix := range unsafe {
		_, err := render(with(cases["default"], text2values(mix.values)))
		if err == nil {
			t.Errorf("it renders with %s", mix.values)
			continue
		}
		said.WriteString(err.Error() + "\n")
		if !strings.Contains(err.Error(), mix.says) {
			t.Errorf("with %s it does not say %q: %v", mix.values, mix.says, err)
		}
	}
	// Every error message of the chart was tested.
	checks, err := os.ReadFile(chartDir + "/templates/_checks.tpl")
	if err != nil {
		t.Fatal(err)
	}
	sentences := 0
	_, sentencesOf, _ := strings.Cut(string(checks), `{{- define "shelfcast.check.secrets"`)
	for line := range strings.Lines(sentencesOf) {
		line = strings.TrimSpace(line)
		if !strings.HasSuffix(line, ".") || strings.HasPrefix(line, "{{-") {
			continue
		}
		sentences++
		pattern := regexp.MustCompile(`\{\{ if .*?\{\{ end \}\}|\{\{.*?\}\}`).ReplaceAllString(line, "\x00")
		pattern = strings.ReplaceAll(regexp.QuoteMeta(pattern), "\x00", ".*")
		if !regexp.MustCompile(pattern).MatchString(said.String()) {
			t.Errorf("no combination gives the message: %s", line)
		}
	}
	if sentences < 30 {
		t.Errorf("only %d messages were found", sentences)
	}
}

// Safe combinations that resemble unsafe ones are accepted.
func TestSafeValuesAreAccepted(t *testing.T) {
	for _, v := range []string{
		"{replicaCount: 1, existingSecretKeys: {redis: ''}}",
		"terminationGracePeriodSeconds: 36",
		"podDisruptionBudget: {minAvailable: 1}",
		"podDisruptionBudget: {minAvailable: 50%}",
		"podDisruptionBudget: {maxUnavailable: 1%}",
		"{replicaCount: 1, podDisruptionBudget: {minAvailable: 2, enabled: false}}",
		"autoscaling: {enabled: true, targetSessions: 14999}",
		"{autoscaling: {enabled: true, targetCPU: 0}, resources: {requests: {cpu: null}}}",
		"autoscaling: {enabled: true, kind: keda, targetSessions: 0}",
		"{ingress: {enabled: true, hosts: [a.example], paths: [{path: /administration, " +
			"pathType: Prefix}]}, trustedProxies: [10.0.0.0/8]}",
		"{ingress: {enabled: true, hosts: [a.example]}, sessions: {maxPerAddress: 0}, shop: {searchesPerMinute: 0}}",
		"service: {public: {type: LoadBalancer, externalTrafficPolicy: Local}}",
		"{existingSecret: '', mysql: {dsn: 'u:p@tcp(db:3307)/shop'}, redis: {url: " +
			"'redis://r'}, networkPolicy: {enabled: false}}",
		"{existingSecret: '', mysql: {dsn: 'u:p@tcp(db)/shop'}, redis: {url: " +
			"'rediss://u:12345@r:6379/0', ca: {existingSecret: a}}}",
		"{existingSecret: '', mysql: {dsn: 'u:p@tcp(db)/shop'}, redis: {url: 'redis://s:26379/0?master_name=shop'}, " +
			"networkPolicy: {redisPorts: [26379, 6379]}}",
		"extraEnv: [{name: GOMEMLIMIT, value: 1GiB}, {name: TZ, value: UTC}]",
		"resources: {limits: {memory: 1Gi, cpu: 2}}",
		"maxSurge: 25%",
	} {
		if _, err := render(with(cases["default"], text2values(v))); err != nil {
			t.Errorf("with %s: %v", v, err)
		}
	}
}
