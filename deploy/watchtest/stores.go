package main

import "github.com/grafana/grafana-foundation-sdk/go/units"

func fragments() row {
	const hits, loads = "shelfcast_fragment_hits_total", "shelfcast_fragment_loads_total"
	return row{title: "Fragments and caches", folded: true, panels: []panel{
		{
			title: "Fragments by tier", help: "Where fragments were found: in memory, in Redis, or nowhere, so that MySQL was read.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{tier}}", rate("by (tier)", hits)}, {"MySQL", rate("", loads)}},
		},
		{
			title: "Hit rate", help: "Of fragments asked for, those that were in memory, or in Redis or memory.",
			unit: units.PercentUnit, width: 8,
			queries: []query{
				{"memory", rate("", hits, `tier="memory"`) + " / (" + rate("", hits) + " + " + rate("", loads) + ")"},
				{"memory or Redis", rate("", hits) + " / (" + rate("", hits) + " + " + rate("", loads) + ")"},
			},
		},
		{
			title: "Renders by view", help: "Fragments made. Each version is made once for the fleet: more than edits × views are a cold cache, or a Redis that does not keep them.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{view}}", rate("by (view)", "shelfcast_fragment_renders_total")}},
		},
		{
			title: "Rows read by view", help: "From MySQL, to make a fragment.",
			unit: units.RowsPerSecond, width: 8,
			queries: []query{{"{{view}}", rate("by (view)", loads)}},
		},
		{
			title: "Leases", help: "Who makes a fragment that nobody has: this instance; another, whose fragment came; another that took too long, so that we made our own.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{result}}", rate("by (result)", "shelfcast_fragment_leases_total")}},
		},
		{
			title: "Not made, not shared", help: "busy: too many were being made, answered with 503. unshared: Redis did not take them. unknown: products that are not there, as of a scan of ids.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{
				{"busy", rate("", "shelfcast_fragment_busy_total")}, {"unshared", rate("", "shelfcast_fragment_unshared_total")}, {"unknown", rate("", "shelfcast_fragment_unknown_total")},
			},
			alerts: []string{"ShelfcastFragmentsBusy", "ShelfcastFragmentsUnshared"},
		},
		{
			title: "Memory for fragments", help: "Of at most --memory MiB.",
			unit: units.BytesIEC, width: 8,
			queries: []query{{instance, sum(byInstance, "shelfcast_fragment_memory_bytes")}},
		},
		{
			title: "Reloads", help: "Templates and assets that were read again, and taken or refused.",
			unit: units.Short, width: 8,
			queries: []query{{"{{result}}", grown("by (result)", "shelfcast_reloads_total")}},
			alerts:  []string{"ShelfcastReloadRefused"},
		},
	}}
}

func stores() row {
	const query99 = "shelfcast_store_query_seconds"
	return row{title: "MySQL and Redis", folded: true, panels: []panel{
		{
			title: "Time of a query", help: "p99, with the wait for a connection and all tries.",
			unit: units.Seconds, logarithmic: true, limits: []float64{0.5}, width: 8,
			queries: []query{{"{{query}}", quantile(0.99, query99, "query")}},
			alerts:  []string{"ShelfcastStoreSlow"},
		},
		{
			title: "Queries", help: "By kind. Each instance reads the feed once a second.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{query}}", observed(query99, "query")}},
		},
		{
			title: "Errors of queries", help: "Queries and transactions that MySQL did not answer, or not in time; and transactions that were tried again after a deadlock or a lock wait.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{query}}", rate("by (query)", "shelfcast_store_errors_total") + " > 0"}, {"tried again", rate("", "shelfcast_store_retries_total")}},
			alerts:  []string{"ShelfcastStoreErrors"},
		},
		{
			title: "Connections to MySQL", help: "Over all instances.",
			unit: units.Short, width: 8,
			queries: []query{
				{"{{db_name}}: in use", sum("by (db_name)", "go_sql_in_use_connections")},
				{"{{db_name}}: idle", sum("by (db_name)", "go_sql_idle_connections")},
				{"{{db_name}}: at most", sum("by (db_name)", "go_sql_max_open_connections")},
			},
			alerts: []string{"ShelfcastMySQLPoolBusy"},
		},
		{
			title: "Waits for a connection to MySQL", help: "Queries that wait for one, on average.",
			unit: units.Short, width: 8,
			queries: []query{{instance + " {{db_name}}", rate("by (instance, pod, db_name)", "go_sql_wait_duration_seconds_total")}},
			alerts:  []string{"ShelfcastMySQLPoolBusy"},
		},
		{
			title: "Reads of the replica", help: "behind and failed had to be asked of the primary.",
			unit: units.RowsPerSecond, width: 8,
			queries: []query{{"{{result}}", rate("by (result)", "shelfcast_replica_reads_total")}},
			alerts:  []string{"ShelfcastReplicaUseless"},
		},
		{
			title: "Time of a Redis command", help: "Of a command or pipeline, without subscriptions.",
			unit: units.Seconds, logarithmic: true, width: 8,
			queries: []query{{"p50", quantile(0.5, "shelfcast_redis_command_seconds")}, {"p99", quantile(0.99, "shelfcast_redis_command_seconds")}},
		},
		{
			title: "Redis commands and errors", help: "An error is one that Redis did not answer, or not in time, or with an error.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"commands", observed("shelfcast_redis_command_seconds")}, {"errors", rate("", "shelfcast_redis_errors_total")}},
			alerts:  []string{"ShelfcastRedisErrors"},
		},
		{
			title: "Connections to Redis", help: "Over all instances, and commands that waited for one, or in vain.",
			unit: units.Short, width: 8,
			queries: []query{
				{"{{state}}", sum("by (state)", "shelfcast_redis_connections")},
				{"waits a second", rate("", "shelfcast_redis_pool_waits_total")},
				{"waiting, on average", rate("", "shelfcast_redis_pool_wait_seconds_total")},
				{"time-outs a second", rate("", "shelfcast_redis_pool_timeouts_total")},
			},
		},
	}}
}

func admin() row {
	return row{title: "Admin API", folded: true, panels: []panel{
		{
			title: "Calls of the admin API", help: "By route and status.",
			unit: units.RequestsPerSecond, width: 12,
			queries: []query{{"{{method}} {{route}} {{code}}", rate("by (method, route, code)", "shelfcast_admin_requests_total", `route=~"/api/.+|none"`)}},
			alerts:  []string{"ShelfcastAdminErrors"},
		},
		{
			title: "Time of a call", help: "p99. Those that wait for changes take as long as they wait.",
			unit: units.Seconds, logarithmic: true, width: 12,
			queries: []query{{"{{route}}", quantile(0.99, "shelfcast_admin_request_seconds", "route")}},
		},
		{
			title: "Calls not let in", help: "none: without a token. token: with an invalid one. tries: of an address that tried too many. busy: too many unknown tokens at once. rate: over the caller's limit.",
			unit: units.RequestsPerSecond, width: 8,
			queries: []query{
				{"{{reason}}", rate("by (reason)", "shelfcast_admin_refused_total")},
				{"over the limit of {{limit}}", rate("by (limit)", "shelfcast_ratelimit_refused_total")},
			},
			alerts: []string{"ShelfcastTokensGuessed"},
		},
		{
			title: "Calls counted without Redis", help: "Each instance counts by itself then, so callers may make more.",
			unit: units.RequestsPerSecond, width: 8,
			queries: []query{{instance, rate(byInstance, "shelfcast_ratelimit_local_total")}},
		},
		{
			title: "JWTs", help: "Not taken, by reason, and fetches of the provider's keys that failed. Only with --jwt-jwks.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{
				{"{{reason}}", rate("by (reason)", "shelfcast_jwt_refused_total") + " > 0"},
				{"keys not fetched", rate("", "shelfcast_jwt_key_refreshes_failed_total")},
			},
			alerts: []string{"ShelfcastIdentityKeys"},
		},
	}}
}

func odoo() row {
	return row{title: "Odoo", folded: true, panels: []panel{
		{
			title: "Odoo sessions told what they missed", help: "From the database, after a reconnect.",
			unit: units.OpsPerSecond, width: 12,
			queries: []query{{instance, rate(byInstance, "shelfcast_odoo_resumed_total")}},
		},
		{
			title: "Odoo numbers looked up", help: "Times that the database was asked which product a storefront means.",
			unit: units.OpsPerSecond, width: 12,
			queries: []query{{instance, rate(byInstance, "shelfcast_odoo_lookups_total")}},
		},
	}}
}

func process() row {
	return row{title: "Process", folded: true, panels: []panel{
		{
			title: "CPU", help: "Cores in use.",
			unit: units.Short, width: 8,
			queries: []query{{instance, rate(byInstance, "process_cpu_seconds_total")}},
			alerts:  []string{"ShelfcastInstanceDown"},
		},
		{
			title: "CPU a delivery", help: "All CPU by all deliveries: some ten microseconds when there are many.",
			unit: units.Seconds, width: 8,
			queries: []query{{"CPU", rate("", "process_cpu_seconds_total") + " / (" + rate("", "shelfcast_deliveries_total") + " > 0)"}},
		},
		{
			title: "Memory", help: "Resident, as the kernel counts it.",
			unit: units.BytesIEC, width: 8,
			queries: []query{{instance, sum(byInstance, "process_resident_memory_bytes")}},
			alerts:  []string{"ShelfcastRestarting"},
		},
		{
			title: "Go's memory", help: "Over all instances: what is in use, and what Go has from the system.",
			unit: units.BytesIEC, width: 8,
			queries: []query{{"heap in use", sum("", "go_memstats_heap_inuse_bytes")}, {"stacks", sum("", "go_memstats_stack_inuse_bytes")}, {"from the system", sum("", "go_memstats_sys_bytes")}},
		},
		{
			title: "Goroutines", help: "On Linux sessions take none.",
			unit: units.Short, width: 8,
			queries: []query{{instance, sum(byInstance, "go_goroutines")}},
		},
		{
			title: "Garbage collection", help: "The longest pause of the last collections.",
			unit: units.Seconds, width: 8,
			queries: []query{{instance, `max by (instance, pod) (go_gc_duration_seconds{quantile=~"1(\\.0)?",INSTANCES})`}},
		},
		{
			title: "Open files", help: "Of those that the process may have. Each session takes one.",
			unit: units.PercentUnit, limits: []float64{0.9}, width: 8,
			queries: []query{{instance, `max by (instance, pod) (process_open_fds{INSTANCES} / process_max_fds{INSTANCES})`}},
			alerts:  []string{"ShelfcastFilesLow"},
		},
		{
			title: "Up since", help: "How long each instance has run.",
			unit: units.DurationSeconds, width: 8,
			queries: []query{{instance, `time() - max by (instance, pod) (process_start_time_seconds{INSTANCES})`}},
			alerts:  []string{"ShelfcastRestarting"},
		},
		{
			title: "Versions that run", help: "Instances of each version.",
			unit: units.Short, width: 8,
			queries: []query{{"{{version}} ({{go_version}})", `count by (version, go_version) (shelfcast_build_info{INSTANCES})`}},
			alerts:  []string{"ShelfcastVersionsDiffer"},
		},
		{
			title: "Faults", help: "Panics that were caught. Any is a bug.",
			unit: units.Short, width: 12,
			queries: []query{{instance, grown(byInstance, "shelfcast_faults_total")}},
			alerts:  []string{"ShelfcastFaults"},
		},
		{
			title: "Traces", help: "Spans handed to the collector, and those that it did not take. Only with --otlp-endpoint.",
			unit: units.OpsPerSecond, width: 12,
			queries: []query{{"{{result}}", rate("by (result)", "shelfcast_trace_spans_total")}},
		},
	}}
}
