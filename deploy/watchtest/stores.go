package main

import "github.com/grafana/grafana-foundation-sdk/go/units"

func fragments() row {
	const hits, loads = "shelfcast_fragment_hits_total", "shelfcast_fragment_loads_total"
	return row{title: "Fragments and caches", folded: true, panels: []panel{
		{
			title: "Fragments by tier",
			help:  "Where fragments were found: in memory, in Redis, or not at all, so that MySQL was read.",
			unit:  units.OpsPerSecond, width: 8,
			queries: []query{{"{{tier}}", rate("by (tier)", hits)}, {"MySQL", rate("", loads)}},
		},
		{
			title: "Hit rate", help: "Share of requested fragments that were found in memory, and in memory or Redis.",
			unit: units.PercentUnit, width: 8,
			queries: []query{
				{"memory", rate("", hits, `tier="memory"`) + " / (" + rate("", hits) + " + " + rate("", loads) + ")"},
				{"memory or Redis", rate("", hits) + " / (" + rate("", hits) + " + " + rate("", loads) + ")"},
			},
		},
		{
			title: "Renders by view",
			help: "Each version is rendered once for the fleet. More than edits × views means a cold " +
				"cache, or a Redis that does not keep fragments.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{view}}", rate("by (view)", "shelfcast_fragment_renders_total")}},
		},
		{
			title: "Loads by view", help: "Products read from MySQL to render a fragment.",
			unit: units.RowsPerSecond, width: 8,
			queries: []query{{"{{view}}", rate("by (view)", loads)}},
		},
		{
			title: "Leases",
			help: "Who renders a fragment that is not in Redis. acquired: this instance. waited: another instance, and its " +
				"fragment arrived. timed_out: another instance took too long, and this one rendered its own. hedged: another " +
				"instance was faster than this one's MySQL.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{result}}", rate("by (result)", "shelfcast_fragment_leases_total")}},
		},
		{
			title: "Rejected, not shared, not found",
			help: "rejected: answered with 503 because too many products were being loaded. not shared: could not be stored " +
				"in Redis. not found: requests for products that do not exist, as in a scan of ids.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{
				{"rejected", rate("", "shelfcast_fragment_loads_rejected_total")},
				{"not shared", rate("", "shelfcast_fragment_redis_write_failures_total")},
				{"not found", rate("", "shelfcast_fragment_not_found_total")},
			},
			alerts: []string{"ShelfcastFragmentLoadsRejected", "ShelfcastFragmentsNotShared"},
		},
		{
			title: "Version lookups",
			help: "Queries to MySQL for current versions that were not known from memory: at most 100 per second per " +
				"instance. failed, skipped: Redis answered instead, and may be out of date.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{result}}", rate("by (result)", "shelfcast_version_lookups_total")}},
		},
		{
			title: "Fragment memory", help: "Limited by --fragment-memory.",
			unit: units.BytesIEC, width: 8,
			queries: []query{{instance, sum(byInstance, "shelfcast_fragment_memory_bytes")}},
		},
		{
			title: "Reloads", help: "Reloads of templates and assets, by result.",
			unit: units.Short, width: 8,
			queries: []query{{"{{result}}", grown("by (result)", "shelfcast_reloads_total")}},
			alerts:  []string{"ShelfcastReloadFailed"},
		},
	}}
}

func stores() row {
	const query99 = "shelfcast_store_query_duration_seconds"
	return row{title: "MySQL and Redis", folded: true, panels: []panel{
		{
			title: "Query duration", help: "99th percentile, including the wait for a connection and all retries.",
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
			title: "Query errors",
			help: "Queries and transactions that MySQL did not answer in time, and transactions " +
				"retried after a deadlock or a lock wait timeout.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{query}}", rate("by (query)", "shelfcast_store_errors_total") + " > 0"},
				{"retried", rate("", "shelfcast_store_retries_total")}},
			alerts: []string{"ShelfcastStoreErrors"},
		},
		{
			title: "MySQL errors",
			help: "Errors returned by the server that the data did not cause, by number: 1045 is the password, 1142 a " +
				"missing privilege, 1290 a read-only server, 1047 a node without its cluster.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{number}}", rate("by (number)", "shelfcast_store_server_errors_total") + " > 0"}},
			alerts:  []string{"ShelfcastStoreErrors"},
		},
		{
			title: "Reconnects to MySQL",
			help: "All connections of an instance are replaced when the server is not the primary. primary: whether each " +
				"instance is connected to a server that accepts edits.",
			unit: units.Short, width: 8,
			queries: []query{{"reconnects", rate("", "shelfcast_store_reconnects_total")},
				{instance + " primary", sum("by (instance, pod)", "shelfcast_store_primary")}},
			alerts: []string{"ShelfcastNotPrimary"},
		},
		{
			title: "Connections to MySQL", help: "Over all instances.",
			unit: units.Short, width: 8,
			queries: []query{
				{"{{db_name}}: in use", sum("by (db_name)", "go_sql_in_use_connections")},
				{"{{db_name}}: idle", sum("by (db_name)", "go_sql_idle_connections")},
				{"{{db_name}}: maximum", sum("by (db_name)", "go_sql_max_open_connections")},
			},
			alerts: []string{"ShelfcastMySQLPoolExhausted"},
		},
		{
			title: "Waits for a MySQL connection", help: "Average number of queries that wait for one.",
			unit: units.Short, width: 8,
			queries: []query{{instance + " {{db_name}}",
				rate("by (instance, pod, db_name)", "go_sql_wait_duration_seconds_total")}},
			alerts: []string{"ShelfcastMySQLPoolExhausted"},
		},
		{
			title: "Replica reads", help: "Rows that were behind or failed were read again from the primary.",
			unit: units.RowsPerSecond, width: 8,
			queries: []query{{"{{result}}", rate("by (result)", "shelfcast_replica_reads_total")}},
			alerts:  []string{"ShelfcastReplicaIneffective"},
		},
		{
			title: "Redis command duration", help: "Commands and pipelines, without subscriptions.",
			unit: units.Seconds, logarithmic: true, width: 8,
			queries: []query{{"p50", quantile(0.5, "shelfcast_redis_command_duration_seconds")},
				{"p99", quantile(0.99, "shelfcast_redis_command_duration_seconds")}},
		},
		{
			title: "Redis commands and errors", help: "Errors include timeouts.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"commands", observed("shelfcast_redis_command_duration_seconds")},
				{"errors", rate("", "shelfcast_redis_errors_total")}},
			alerts: []string{"ShelfcastRedisErrors"},
		},
		{
			title: "Connections to Redis",
			help:  "Over all instances, with commands that waited for a connection or got none in time.",
			unit:  units.Short, width: 8,
			queries: []query{
				{"{{state}}", sum("by (state)", "shelfcast_redis_connections")},
				{"waits per second", rate("", "shelfcast_redis_pool_waits_total")},
				{"waiting, on average", rate("", "shelfcast_redis_pool_wait_seconds_total")},
				{"timeouts per second", rate("", "shelfcast_redis_pool_timeouts_total")},
			},
		},
	}}
}

func admin() row {
	return row{title: "Admin API", folded: true, panels: []panel{
		{
			title: "Admin API calls", help: "By route and status.",
			unit: units.RequestsPerSecond, width: 12,
			queries: []query{{"{{method}} {{route}} {{code}}",
				rate("by (method, route, code)", "shelfcast_admin_requests_total", `route=~"/api/.+|none"`)}},
			alerts: []string{"ShelfcastAdminErrors"},
		},
		{
			title: "Admin API duration", help: "99th percentile. Calls that wait for changes take as long as they wait.",
			unit: units.Seconds, logarithmic: true, width: 12,
			queries: []query{{"{{route}}", quantile(0.99, "shelfcast_admin_request_duration_seconds", "route")}},
		},
		{
			title: "Refused admin API calls",
			help: "no_token: without a token. invalid_token: with an invalid one. too_many_attempts: the address tried too " +
				"many invalid ones. busy: too many unknown tokens at once. rate_limit: over the caller's limit.",
			unit: units.RequestsPerSecond, width: 8,
			queries: []query{
				{"{{reason}}", rate("by (reason)", "shelfcast_admin_requests_refused_total")},
				{"rate limit {{limit}}", rate("by (limit)", "shelfcast_rate_limit_refused_total")},
			},
			alerts: []string{"ShelfcastTokenGuessing"},
		},
		{
			title: "Rate limits without Redis",
			help:  "Calls that each instance counted on its own, so that callers may make more.",
			unit:  units.RequestsPerSecond, width: 8,
			queries: []query{{instance, rate(byInstance, "shelfcast_rate_limit_fallbacks_total")}},
		},
		{
			title: "JWTs", help: "JWTs refused, by reason, and failed fetches of the provider's keys. Only with --jwt-jwks.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{
				{"{{reason}}", rate("by (reason)", "shelfcast_jwt_refused_total") + " > 0"},
				{"key fetch failures", rate("", "shelfcast_jwt_key_fetch_failures_total")},
			},
			alerts: []string{"ShelfcastIdentityKeysUnavailable"},
		},
	}}
}

func odoo() row {
	return row{title: "Odoo", folded: true, panels: []panel{
		{
			title: "Odoo catch-ups", help: "Odoo sessions that were sent, from the database, the changes they had missed.",
			unit: units.OpsPerSecond, width: 12,
			queries: []query{{instance, rate(byInstance, "shelfcast_odoo_catch_ups_total")}},
		},
		{
			title: "Odoo id lookups", help: "Queries that find the products for Odoo's product ids, by result.",
			unit: units.OpsPerSecond, width: 12,
			queries: []query{{instance, rate(byInstance, "shelfcast_odoo_id_lookups_total")}},
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
			title: "CPU per delivery",
			help:  "CPU time of all instances divided by deliveries: some ten microseconds under load.",
			unit:  units.Seconds, width: 8,
			queries: []query{{"CPU", rate("", "process_cpu_seconds_total") + " / (" +
				rate("", "shelfcast_deliveries_total") + " > 0)"}},
		},
		{
			title: "Memory", help: "Resident memory.",
			unit: units.BytesIEC, width: 8,
			queries: []query{{instance, sum(byInstance, "process_resident_memory_bytes")}},
			alerts:  []string{"ShelfcastRestarting"},
		},
		{
			title: "Go memory", help: "Over all instances: in use, and obtained from the system.",
			unit: units.BytesIEC, width: 8,
			queries: []query{{"heap in use", sum("", "go_memstats_heap_inuse_bytes")},
				{"stacks", sum("", "go_memstats_stack_inuse_bytes")}, {"from the system", sum("", "go_memstats_sys_bytes")}},
		},
		{
			title: "Goroutines", help: "On Linux sessions need none.",
			unit: units.Short, width: 8,
			queries: []query{{instance, sum(byInstance, "go_goroutines")}},
		},
		{
			title: "Garbage collection", help: "Longest pause of the recent collections.",
			unit: units.Seconds, width: 8,
			queries: []query{{instance, `max by (instance, pod) (go_gc_duration_seconds{quantile=~"1(\\.0)?",INSTANCES})`}},
		},
		{
			title: "File descriptors", help: "Share of the process limit. Each session takes one.",
			unit: units.PercentUnit, limits: []float64{0.9}, width: 8,
			queries: []query{{instance, `max by (instance, pod) (process_open_fds{INSTANCES} / process_max_fds{INSTANCES})`}},
			alerts:  []string{"ShelfcastFileDescriptorsLow"},
		},
		{
			title: "Uptime", help: "Time since each instance started.",
			unit: units.DurationSeconds, width: 8,
			queries: []query{{instance, `time() - max by (instance, pod) (process_start_time_seconds{INSTANCES})`}},
			alerts:  []string{"ShelfcastRestarting"},
		},
		{
			title: "Releases", help: "Instances by release.",
			unit: units.Short, width: 8,
			queries: []query{{"{{version}} ({{go_version}})",
				`count by (version, go_version) (shelfcast_build_info{INSTANCES})`}},
			alerts: []string{"ShelfcastVersionsDiffer"},
		},
		{
			title: "Recovered panics", help: "Each is a bug.",
			unit: units.Short, width: 12,
			queries: []query{{instance, grown(byInstance, "shelfcast_recovered_panics_total")}},
			alerts:  []string{"ShelfcastPanics"},
		},
		{
			title: "Trace spans", help: "Spans sent to the collector, and those that failed. Only with --otlp-endpoint.",
			unit: units.OpsPerSecond, width: 12,
			queries: []query{{"{{result}}", rate("by (result)", "shelfcast_trace_spans_total")}},
		},
	}}
}
