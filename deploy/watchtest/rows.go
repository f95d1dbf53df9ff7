package main

import "github.com/grafana/grafana-foundation-sdk/go/units"

// rows returns the dashboard's rows, in the order in which an edit travels. Folded rows cost
// Prometheus nothing until somebody opens them.
func rows() []row {
	return []row{glance(), propagation(), sessions(), deliveries(), busAndFeed(), fragments(), stores(),
		admin(), odoo(), process()}
}

func glance() row {
	return row{title: "At a glance", panels: []panel{
		{
			title: "Delivered within 2 s",
			help: "Share of the versions written to sessions in the last five minutes that were written within " +
				"2 s of their edit. The objective is 99.9 %.",
			draw: number, unit: units.PercentUnit, decimals: 2, steps: []step{{green, 0.999}, {orange, 0.986}, {red, 0}},
			queries: []query{{"", `1 - sum(shelfcast:late_versions:rate5m{FLEETS}) / sum(shelfcast:versions:rate5m{FLEETS})`}},
			alerts:  []string{"ShelfcastStalePages"},
		},
		{
			title: "Error budget left",
			help:  "Of the 0.1 % of versions that may be late in thirty days. Below zero the objective is missed for the month.",
			draw:  number, unit: units.PercentUnit, steps: []step{{green, 0.25}, {orange, 0}, {red, -100}},
			queries: []query{{"",
				`1 - sum(sum_over_time(shelfcast:late_versions:rate5m{FLEETS}[30d])) / ` +
					`sum(sum_over_time(shelfcast:versions:rate5m{FLEETS}[30d])) / 0.001`}},
			alerts: []string{"ShelfcastErrorBudgetBurning"},
		},
		{
			title: "Propagation latency, p99", help: "Time from an edit until its frame was written to a session.",
			draw: number, unit: units.Seconds, steps: []step{{red, 2}, {orange, 0.5}, {green, 0}},
			queries: []query{{"", quantile(0.99, "shelfcast_propagation_latency_seconds")}},
		},
		{
			title: "Edits",
			help:  "Versions published, over all instances. Imports and plain SQL do not publish: see \"What the feed found\".",
			draw:  number, unit: units.OpsPerSecond,
			queries: []query{{"", rate("", "shelfcast_bus_published_total")}},
		},
		{
			title: "Open sessions", help: "Connected browsers.",
			draw: number, unit: units.Short,
			queries: []query{{"", sum("", "shelfcast_sessions")}},
		},
		{
			title: "Session limit used", help: "Open sessions as a share of what the fleet may have.",
			draw: number, unit: units.PercentUnit, steps: []step{{red, 0.95}, {orange, 0.8}, {green, 0}},
			queries: []query{{"", sum("", "shelfcast_sessions") + " / " + sum("", "shelfcast_sessions_limit")}},
			alerts:  []string{"ShelfcastSessionsNearLimit", "ShelfcastSessionsAtLimit"},
		},
		{
			title: "Instances", help: "Instances that answer Prometheus.",
			draw: number, unit: units.Short, steps: []step{{green, 2}, {orange, 1}, {red, 0}},
			queries: []query{{"", `count(shelfcast_sessions{INSTANCES}) or vector(0)`}},
			alerts:  []string{"ShelfcastAllInstancesDown", "ShelfcastTooFewInstances"},
		},
		{
			title: "Alerts", help: "Firing Shelfcast alerts, of all fleets in this Prometheus.",
			draw: number, unit: units.Short, steps: []step{{red, 1}, {green, 0}},
			queries: []query{{"", `count(ALERTS{alertname=~"Shelfcast.+",alertstate="firing"}) or vector(0)`}},
		},
		{
			title: "Firing and pending alerts", help: "Each has a section in the runbook.",
			draw: table, width: 24, height: 5,
			queries: []query{{"",
				`sum by (alertname, severity, alertstate, namespace, job, instance, reason) (ALERTS{alertname=~"Shelfcast.+"})`}},
		},
	}}
}

func propagation() row {
	const metric = "shelfcast_propagation_latency_seconds"
	return row{title: "Propagation", panels: []panel{
		{
			title: "Propagation latency",
			help: "Time from an edit until its frame was written to a session that was " +
				"already open. Above the line a version is late.",
			unit: units.Seconds, logarithmic: true, limits: []float64{2}, width: 8,
			queries: []query{
				{"p50", quantile(0.5, metric)}, {"p90", quantile(0.9, metric)}, {"p99", quantile(0.99, metric)},
				{"p99.9", quantile(0.999, metric)},
			},
			alerts: []string{"ShelfcastStalePages"},
		},
		{
			title: "Propagation latency by instance, p99", help: "An outlier has a bad network, node or neighbour.",
			unit: units.Seconds, logarithmic: true, limits: []float64{2}, width: 8,
			queries: []query{{instance, quantile(0.99, metric, "instance", "pod")}},
		},
		{
			title: "Latency until applied",
			help: "Time from an edit until a page confirmed that it shows it. Sampled from " +
				"one page in a hundred; includes the way back.",
			unit: units.Seconds, logarithmic: true, limits: []float64{2}, width: 8,
			queries: []query{{"p50", quantile(0.5, "shelfcast_applied_latency_seconds")},
				{"p99", quantile(0.99, "shelfcast_applied_latency_seconds")}},
		},
		{
			title: "Burn rate",
			help: "How many times too fast the month's error budget is used. Both windows of a pair above its line: 1 h and " +
				"5 m at 14.4, and 6 h and 30 m at 6, page; 1 d and 2 h at 3, and 3 d and 6 h at 1, open a ticket.",
			unit: units.Short, limits: []float64{1, 6, 14.4}, width: 12,
			queries: []query{
				{"5 m", burn("5m")}, {"30 m", burn("30m")}, {"1 h", burn("1h")}, {"2 h", burn("2h")}, {"6 h", burn("6h")},
				{"1 d", burn("1d")}, {"3 d", burn("3d")},
			},
			alerts: []string{"ShelfcastStalePages", "ShelfcastErrorBudgetBurning"},
		},
		{
			title: "Versions delivered", help: "Versions written to sessions, and those written more than 2 s after the edit.",
			unit: units.OpsPerSecond, width: 6,
			queries: []query{{"written", `sum(shelfcast:versions:rate5m{FLEETS})`},
				{"late", `sum(shelfcast:late_versions:rate5m{FLEETS})`}},
		},
		{
			title: "Load failures",
			help: "Fragments and versions that failed to load and are retried every second. The latency quantiles do not " +
				"include them, because they were never written.",
			unit: units.OpsPerSecond, width: 6,
			queries: []query{{instance, rate(byInstance, "shelfcast_load_failures_total")}},
			alerts:  []string{"ShelfcastLoadFailures"},
		},
	}}
}

func burn(window string) string {
	return "max(shelfcast:late_versions:ratio" + window + "{FLEETS}) / 0.001"
}

func sessions() row {
	return row{title: "Sessions", panels: []panel{
		{
			title: "Sessions and limit",
			help:  "Above the limit without the largest instance, the sessions of a failing instance do not fit on the others.",
			unit:  units.Short, width: 8,
			queries: []query{
				{"sessions", sum("", "shelfcast_sessions")},
				{"limit", sum("", "shelfcast_sessions_limit")},
				{"limit without the largest instance",
					sum("", "shelfcast_sessions_limit") + " - max(shelfcast_sessions_limit{INSTANCES})"},
			},
			alerts: []string{"ShelfcastSessionsNearLimit", "ShelfcastSessionsAtLimit", "ShelfcastNoSpareCapacity"},
		},
		{
			title: "Sessions by instance", help: "If they stay far apart after a scale-up, set --max-session-age.",
			unit: units.Short, width: 8,
			queries: []query{{instance, sum(byInstance, "shelfcast_sessions")},
				{"instances at capacity", sum("", "shelfcast_at_capacity")}},
		},
		{
			title: "New sessions", help: "Sessions opened, by protocol. A step up with as many closes is a reconnect storm.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{protocol}}", rate("by (protocol)", "shelfcast_sessions_opened_total")}},
		},
		{
			title: "Refused handshakes",
			help: "Handshakes and polls refused. full, rate: the instance has reached a limit. address_full, address_rate: " +
				"one address has. origin: the page is of a disallowed site. draining: a deploy.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{reason}}", rate("by (reason)", "shelfcast_sessions_refused_total")}},
			alerts:  []string{"ShelfcastSessionsRefused", "ShelfcastAddressLimit", "ShelfcastOriginRefused"},
		},
		{
			title: "Closed sessions",
			help: "client_close: the browser or the network closed it. ping_timeout: no answer to a ping. shutdown: a " +
				"deploy. max_age: --max-session-age. invalid_input: the browser sent an invalid message. panic: a bug. stalled: " +
				"the browser accepted no byte for a minute.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{reason}}", rate("by (reason)", "shelfcast_sessions_closed_total")}},
		},
		{
			title: "Responses and request bodies",
			help: "Polls and requests for several fragments in flight; those refused because too many were (full: on this " +
				"instance, address_full: to one address); request bodies refused; and large responses of the admin app " +
				"refused. Many in flight means slow readers.",
			unit: units.Short, width: 8,
			queries: []query{
				{"responses in flight", sum("", "shelfcast_responses_in_flight")},
				{"responses refused per second, {{reason}}", rate("by (reason)", "shelfcast_responses_refused_total")},
				{"bodies refused per second, {{app}}, {{reason}}",
					rate("by (app, reason)", "shelfcast_request_bodies_refused_total")},
				{"large responses refused per second", rate("", "shelfcast_admin_responses_refused_total")},
			},
		},
		{
			title: "Slow sessions",
			help:  "Sessions that have not accepted the last write yet, and writes that filled a send buffer.",
			unit:  units.Short, width: 8,
			queries: []query{{instance, sum(byInstance, "shelfcast_sessions_slow")},
				{"blocked writes per second", rate("", "shelfcast_session_writes_blocked_total")}},
			alerts: []string{"ShelfcastSlowSessions"},
		},
		{
			title: "Draining", help: "1 while an instance closes its sessions to shut down: a deploy, or a scale-down.",
			unit: units.Short, width: 8,
			queries: []query{{instance, sum(byInstance, "shelfcast_draining")}},
			alerts:  []string{"ShelfcastDrainStuck"},
		},
		{
			title: "Polls", help: "Polls by pages for which neither WebSockets nor event streams work.",
			unit: units.RequestsPerSecond, width: 8,
			queries: []query{{instance, rate(byInstance, "shelfcast_polls_total")}},
		},
		{
			title: "Errors sent to browsers",
			help:  "By code. unknown_product and too_many_products are errors of a page; the others are broken clients.",
			unit:  units.OpsPerSecond, width: 8,
			queries: []query{{"{{code}}", rate("by (code)", "shelfcast_session_errors_total") + " > 0"}},
		},
	}}
}

func deliveries() row {
	return row{title: "Deliveries", panels: []panel{
		{
			title: "Deliveries", help: "Product versions written to sessions.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{instance, rate(byInstance, "shelfcast_deliveries_total")}},
		},
		{
			title: "Deliveries per edit", help: "Average number of sessions an edit is written to.",
			unit: units.Short, width: 8,
			queries: []query{{"deliveries",
				rate("", "shelfcast_deliveries_total") + " / (" + rate("", "shelfcast_bus_published_total") + " > 0)"}},
		},
		{
			title: "Bytes to sessions", help: "Without TCP and TLS overhead.",
			unit: units.BytesPerSecondSI, width: 8,
			queries: []query{{instance, rate(byInstance, "shelfcast_session_sent_bytes_total")}},
		},
		{
			title: "Coalesced versions",
			help: "Versions replaced by a newer one. load: while the fragment was loaded. flush: before it was sent. " +
				"session: while a slow session had no room.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{stage}}", rate("by (stage)", "shelfcast_coalesced_total")}},
		},
		{
			title: "Watched products", help: "Products watched by at least one session of an instance.",
			unit: units.Short, width: 8,
			queries: []query{{instance, sum(byInstance, "shelfcast_watched_products")}},
		},
		{
			title: "Version checks and drops",
			help: "version checks: current versions read from the database for pages that connect. stragglers: fragments " +
				"delivered after their batch because loading took too long. missing: " +
				"announcements of products that are not in the database.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{
				{"version checks", rate("", "shelfcast_version_checks_total")},
				{"stragglers", rate("", "shelfcast_batch_stragglers_total")},
				{"missing", rate("", "shelfcast_missing_products_total")},
			},
		},
	}}
}

func busAndFeed() row {
	return row{title: "Bus and feed", panels: []panel{
		{
			title: "Bus probe age",
			help: "Time since a probe that the instance published last came back. Above 5 s edits arrive " +
				"through the database, up to a second later.",
			unit: units.Seconds, limits: []float64{5}, width: 8,
			queries: []query{{instance, sum(byInstance, "shelfcast_bus_probe_age_seconds")}},
			alerts:  []string{"ShelfcastBusDown", "ShelfcastNoUpdates"},
		},
		{
			title: "Feed age",
			help:  "Time since the last successful read of changes from MySQL. Above 2 s an instance is degraded.",
			unit:  units.Seconds, limits: []float64{2, 30}, width: 8,
			queries: []query{{instance, sum(byInstance, "shelfcast_feed_age_seconds")}},
			alerts:  []string{"ShelfcastFeedStale", "ShelfcastNoUpdates"},
		},
		{
			title: "Versions through Redis",
			help: "Every instance receives every published version. publish failures: Redis did not accept it. " +
				"invalid: messages that could not be decoded.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{
				{"published", rate("", "shelfcast_bus_published_total")}, {"received", rate("", "shelfcast_bus_received_total")},
				{"publish failures", rate("", "shelfcast_bus_publish_failures_total")},
				{"invalid", rate("", "shelfcast_bus_invalid_messages_total")},
			},
		},
		{
			title: "Redis subscriptions",
			help:  "Resubscriptions, and those made because nothing arrived any more, as when Redis hangs.",
			unit:  units.Short, width: 8,
			queries: []query{{"resubscribed", grown("", "shelfcast_bus_gaps_total")},
				{"stalled", grown("", "shelfcast_bus_stalls_total")}},
			alerts: []string{"ShelfcastBusFlapping"},
		},
		{
			title: "What the feed found",
			help: "repaired: versions that the feed found before the bus delivered them, or that it never did: imports, " +
				"plain SQL, and what Redis lost. rows: rows read, each change about ten times.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{
				{"repaired", rate("", "shelfcast_feed_repaired_total")}, {"rows", rate("", "shelfcast_feed_rows_total")},
				{"failed reads", rate("", "shelfcast_feed_failures_total")},
			},
		},
		{
			title: "Late commits",
			help: "late: versions per second that committed more than 10 s after they were assigned. bound: seconds within " +
				"which any commit reaches pages; above 2 where open transactions cannot be seen. waits: lookups of announced " +
				"versions that are not in the database yet, because it lags.",
			unit: units.Short, width: 4,
			queries: []query{{"late", rate("", "shelfcast_feed_late_commits_total")},
				{"bound", "max(" + sum(byInstance, "shelfcast_feed_staleness_bound_seconds") + ")"},
				{"transactions hidden", sum("", "shelfcast_feed_transactions_hidden")},
				{"waits", rate("", "shelfcast_version_waits_total")}},
		},
		{
			title: "Clocks", help: "MySQL's clock minus the instance's.",
			unit: units.Seconds, limits: []float64{1}, width: 4,
			queries: []query{{instance, sum(byInstance, "shelfcast_clock_offset_seconds")}},
			alerts:  []string{"ShelfcastClockSkew"},
		},
		{
			title: "Database rollbacks",
			help:  "Rollbacks detected, as after a restore; versions lost; and products whose row was deleted.",
			unit:  units.Short, width: 4,
			queries: []query{{"rollbacks", grown("", "shelfcast_database_rollbacks_total")},
				{"lost versions", grown("", "shelfcast_lost_versions_total")},
				{"deleted rows", grown("", "shelfcast_deleted_products_total")}},
			alerts: []string{"ShelfcastDatabaseRollback"},
		},
		{
			title: "Watcher counts", help: "Requests for how many pages show a product, and what became of them.",
			unit: units.OpsPerSecond, width: 4,
			queries: []query{
				{"requests", rate("", "shelfcast_watcher_count_queries_total")},
				{"replies", rate("", "shelfcast_watcher_count_replies_total")},
				{"incomplete", rate("", "shelfcast_watcher_count_incomplete_total")},
				{"dropped: {{reason}}", rate("by (reason)", "shelfcast_watcher_count_messages_dropped_total") + " > 0"},
			},
		},
	}}
}
