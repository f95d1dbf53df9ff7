package main

import "github.com/grafana/grafana-foundation-sdk/go/units"

// rows are the dashboard, in the order of an edit's way. Those that are folded
// cost Prometheus nothing until somebody opens them.
func rows() []row {
	return []row{glance(), fresh(), sessions(), deliveries(), busAndFeed(), fragments(), stores(), admin(), odoo(), process()}
}

func glance() row {
	return row{title: "At a glance", panels: []panel{
		{
			title: "Fresh within 2 s", help: "Of the versions written to sessions in the last five minutes, those that were written within 2 s of their edit. The promise is 99.9 %.",
			draw: number, unit: units.PercentUnit, decimals: 2, steps: []step{{green, 0.999}, {orange, 0.986}, {red, 0}},
			queries: []query{{"", `1 - sum(shelfcast:versions_late:rate5m{FLEETS}) / sum(shelfcast:versions:rate5m{FLEETS})`}},
			alerts:  []string{"ShelfcastStalePages"},
		},
		{
			title: "Budget left", help: "Of the 0.1 % of versions that may be late in thirty days. Below zero the promise is broken for the month.",
			draw: number, unit: units.PercentUnit, steps: []step{{green, 0.25}, {orange, 0}, {red, -100}},
			queries: []query{{"", `1 - sum(sum_over_time(shelfcast:versions_late:rate5m{FLEETS}[30d])) / sum(sum_over_time(shelfcast:versions:rate5m{FLEETS}[30d])) / 0.001`}},
			alerts:  []string{"ShelfcastFreshnessBudgetBurning"},
		},
		{
			title: "Time to fresh, p99", help: "From an edit until its frame was written to a session.",
			draw: number, unit: units.Seconds, steps: []step{{red, 2}, {orange, 0.5}, {green, 0}},
			queries: []query{{"", quantile(0.99, "shelfcast_time_to_fresh_seconds")}},
		},
		{
			title: "Edits", help: "Versions published, over all instances. Edits by import and plain SQL are not among them: see \"What the feed found\".",
			draw: number, unit: units.OpsPerSecond,
			queries: []query{{"", rate("", "shelfcast_bus_published_total")}},
		},
		{
			title: "Sessions open", help: "Browsers that are connected.",
			draw: number, unit: units.Short,
			queries: []query{{"", sum("", "shelfcast_sessions")}},
		},
		{
			title: "Session budget used", help: "Of the sessions that the fleet may have.",
			draw: number, unit: units.PercentUnit, steps: []step{{red, 0.95}, {orange, 0.8}, {green, 0}},
			queries: []query{{"", sum("", "shelfcast_sessions") + " / " + sum("", "shelfcast_session_budget")}},
			alerts:  []string{"ShelfcastSessionBudgetLow", "ShelfcastSessionBudgetUsedUp"},
		},
		{
			title: "Instances", help: "Instances that answer Prometheus.",
			draw: number, unit: units.Short, steps: []step{{green, 2}, {orange, 1}, {red, 0}},
			queries: []query{{"", `count(shelfcast_sessions{INSTANCES}) or vector(0)`}},
			alerts:  []string{"ShelfcastGone", "ShelfcastTooFewInstances"},
		},
		{
			title: "Alerts", help: "Alerts of Shelfcast that fire now, of all fleets of this Prometheus.",
			draw: number, unit: units.Short, steps: []step{{red, 1}, {green, 0}},
			queries: []query{{"", `count(ALERTS{alertname=~"Shelfcast.+",alertstate="firing"}) or vector(0)`}},
		},
		{
			title: "Alerts that fire or are about to", help: "Each has its section in the runbook.",
			draw: table, width: 24, height: 5,
			queries: []query{{"", `sum by (alertname, severity, alertstate, namespace, job, instance, reason) (ALERTS{alertname=~"Shelfcast.+"})`}},
		},
	}}
}

func fresh() row {
	const metric = "shelfcast_time_to_fresh_seconds"
	return row{title: "Are pages fresh?", panels: []panel{
		{
			title: "Time to fresh", help: "From an edit until its frame was written to a session that was there. Above the line a version is late.",
			unit: units.Seconds, logarithmic: true, limits: []float64{2}, width: 8,
			queries: []query{
				{"p50", quantile(0.5, metric)}, {"p90", quantile(0.9, metric)}, {"p99", quantile(0.99, metric)}, {"p99.9", quantile(0.999, metric)},
			},
			alerts: []string{"ShelfcastStalePages"},
		},
		{
			title: "Time to fresh by instance, p99", help: "One that is above the others has a bad network, node or neighbour.",
			unit: units.Seconds, logarithmic: true, limits: []float64{2}, width: 8,
			queries: []query{{instance, quantile(0.99, metric, "instance", "pod")}},
		},
		{
			title: "Time until pages show it", help: "The same as shoppers have it: until a page said that it shows the version. Of one page in a hundred, and with the way back.",
			unit: units.Seconds, logarithmic: true, limits: []float64{2}, width: 8,
			queries: []query{{"p50", quantile(0.5, "shelfcast_time_to_applied_seconds")}, {"p99", quantile(0.99, "shelfcast_time_to_applied_seconds")}},
		},
		{
			title: "Burn rate", help: "How many times too fast the month's budget of late versions is used. Both windows of a pair above its line: 1 h and 5 m at 14.4, and 6 h and 30 m at 6, page; 1 d and 2 h at 3, and 3 d and 6 h at 1, make a ticket.",
			unit: units.Short, limits: []float64{1, 6, 14.4}, width: 12,
			queries: []query{
				{"5 m", burn("5m")}, {"30 m", burn("30m")}, {"1 h", burn("1h")}, {"2 h", burn("2h")}, {"6 h", burn("6h")}, {"1 d", burn("1d")}, {"3 d", burn("3d")},
			},
			alerts: []string{"ShelfcastStalePages", "ShelfcastFreshnessBudgetBurning"},
		},
		{
			title: "Versions and late ones", help: "Written to sessions, and those later than 2 s.",
			unit: units.OpsPerSecond, width: 6,
			queries: []query{{"written", `sum(shelfcast:versions:rate5m{FLEETS})`}, {"late", `sum(shelfcast:versions_late:rate5m{FLEETS})`}},
		},
		{
			title: "Not to be had", help: "Fragments and versions that could not be had, and are tried again each second. The quantiles do not show them: what is not written is not late.",
			unit: units.OpsPerSecond, width: 6,
			queries: []query{{instance, rate(byInstance, "shelfcast_unanswered_total")}},
			alerts:  []string{"ShelfcastFragmentsUnanswered"},
		},
	}}
}

func burn(window string) string {
	return "max(shelfcast:versions_late:ratio" + window + "{FLEETS}) / 0.001"
}

func sessions() row {
	return row{title: "Sessions", panels: []panel{
		{
			title: "Sessions and budget", help: "Above the budget without the largest instance there is no room for the sessions of one that fails.",
			unit: units.Short, width: 8,
			queries: []query{
				{"sessions", sum("", "shelfcast_sessions")},
				{"budget", sum("", "shelfcast_session_budget")},
				{"budget without the largest instance", sum("", "shelfcast_session_budget") + " - max(shelfcast_session_budget{INSTANCES})"},
			},
			alerts: []string{"ShelfcastSessionBudgetLow", "ShelfcastSessionBudgetUsedUp", "ShelfcastNoRoomToLoseAnInstance"},
		},
		{
			title: "Sessions by instance", help: "Far apart after a scale-up: --max-session-age brings them together.",
			unit: units.Short, width: 8,
			queries: []query{{instance, sum(byInstance, "shelfcast_sessions")}},
		},
		{
			title: "Joins", help: "Sessions begun, by wire. A step up with as many that end is a reconnect storm.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{wire}}", rate("by (wire)", "shelfcast_sessions_opened_total")}},
		},
		{
			title: "Refusals", help: "Handshakes and polls refused: full and rate are for want of room, address is one client that has too many, draining is a deploy.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{reason}}", rate("by (reason)", "shelfcast_sessions_refused_total")}},
			alerts:  []string{"ShelfcastSessionsRefused", "ShelfcastAddressLimit"},
		},
		{
			title: "Why sessions end", help: "left: the browser went, or something on the way cut it off. silent: it did not answer a ping. restart: a deploy. aged: --max-session-age. refused: it sent nonsense. fault: a bug.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{reason}}", rate("by (reason)", "shelfcast_sessions_closed_total")}},
		},
		{
			title: "Answers and bodies", help: "Polls and requests for several fragments that are being answered, those refused because too many were (full: here, address: to one address), and request bodies that were not taken. Many under way: slow readers.",
			unit: units.Short, width: 8,
			queries: []query{
				{"answers under way", sum("", "shelfcast_answers_under_way")},
				{"answers refused a second, {{reason}}", rate("by (reason)", "shelfcast_answers_refused_total")},
				{"bodies refused a second, {{app}}, {{reason}}", rate("by (app, reason)", "shelfcast_bodies_refused_total")},
			},
		},
		{
			title: "Slow sessions", help: "Sessions that have not taken what was last written to them, and writes that left no room.",
			unit: units.Short, width: 8,
			queries: []query{{instance, sum(byInstance, "shelfcast_sessions_slow")}, {"blocked writes a second", rate("", "shelfcast_session_blocked_total")}},
			alerts:  []string{"ShelfcastSlowSessions"},
		},
		{
			title: "Draining", help: "1 while an instance closes its sessions to stop: a deploy, or a scale-down.",
			unit: units.Short, width: 8,
			queries: []query{{instance, sum(byInstance, "shelfcast_draining")}},
			alerts:  []string{"ShelfcastDrainStuck"},
		},
		{
			title: "Polls", help: "Pages where neither WebSockets nor event streams work.",
			unit: units.RequestsPerSecond, width: 8,
			queries: []query{{instance, rate(byInstance, "shelfcast_polls_total")}},
		},
		{
			title: "Errors said to browsers", help: "By code. unknown_product and too_many_products are a page's fault; the others are broken clients.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{code}}", rate("by (code)", "shelfcast_session_errors_total") + " > 0"}},
		},
	}}
}

func deliveries() row {
	return row{title: "Deliveries", panels: []panel{
		{
			title: "Deliveries", help: "Versions written to sessions.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{instance, rate(byInstance, "shelfcast_deliveries_total")}},
		},
		{
			title: "Deliveries an edit", help: "How many sessions an edit goes to, on average.",
			unit: units.Short, width: 8,
			queries: []query{{"deliveries", rate("", "shelfcast_deliveries_total") + " / (" + rate("", "shelfcast_bus_published_total") + " > 0)"}},
		},
		{
			title: "Bytes to sessions", help: "Without TCP and TLS.",
			unit: units.BytesPerSecondSI, width: 8,
			queries: []query{{instance, rate(byInstance, "shelfcast_session_bytes_total")}},
		},
		{
			title: "Versions passed over", help: "A newer one took their place: before its fragment was had, before it was told, or at a session that had no room.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{{"{{stage}}", rate("by (stage)", "shelfcast_coalesced_total")}},
		},
		{
			title: "Watched products", help: "Products that some session of an instance watches.",
			unit: units.Short, width: 8,
			queries: []query{{instance, sum(byInstance, "shelfcast_watched_products")}},
		},
		{
			title: "Questions and losses", help: "asked: versions asked of the database for pages that came. late: fragments that the rest of their batch did not wait for. vanished: news of products that are not in the database.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{
				{"asked", rate("", "shelfcast_asked_total")}, {"late in a batch", rate("", "shelfcast_batch_late_total")}, {"vanished", rate("", "shelfcast_vanished_total")},
			},
		},
	}}
}

func busAndFeed() row {
	return row{title: "Bus and feed", panels: []panel{
		{
			title: "Age of the bus probe", help: "Since what an instance publishes to Redis last came back. Above 5 s edits come through the database, up to a second later.",
			unit: units.Seconds, limits: []float64{5}, width: 8,
			queries: []query{{instance, sum(byInstance, "shelfcast_bus_probe_age_seconds")}},
			alerts:  []string{"ShelfcastBusDown", "ShelfcastNoUpdates"},
		},
		{
			title: "Age of the feed", help: "Since the last read of changes from MySQL. Above 2 s an instance is degraded.",
			unit: units.Seconds, limits: []float64{2, 30}, width: 8,
			queries: []query{{instance, sum(byInstance, "shelfcast_feed_age_seconds")}},
			alerts:  []string{"ShelfcastFeedOld", "ShelfcastNoUpdates"},
		},
		{
			title: "Versions through Redis", help: "Each that is published is received by each instance. unpublished: Redis did not take it. garbled: not from us.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{
				{"published", rate("", "shelfcast_bus_published_total")}, {"received", rate("", "shelfcast_bus_received_total")},
				{"unpublished", rate("", "shelfcast_bus_unpublished_total")}, {"garbled", rate("", "shelfcast_bus_garbled_total")},
			},
		},
		{
			title: "Silent subscriptions", help: "Subscriptions made anew, and those of them on which nothing came any more: a Redis that hangs.",
			unit: units.Short, width: 8,
			queries: []query{{"made anew", grown("", "shelfcast_bus_gaps_total")}, {"silent", grown("", "shelfcast_bus_silent_total")}},
			alerts:  []string{"ShelfcastBusFlapping"},
		},
		{
			title: "What the feed found", help: "repaired: versions that came from MySQL before, or instead of, Redis: imports and plain SQL, or what Redis lost. rows: read, each change some ten times.",
			unit: units.OpsPerSecond, width: 8,
			queries: []query{
				{"repaired", rate("", "shelfcast_feed_repaired_total")}, {"rows", rate("", "shelfcast_feed_rows_total")}, {"failed reads", rate("", "shelfcast_feed_failed_total")},
			},
		},
		{
			title: "Restored databases", help: "Times that MySQL had lost versions, and how many were noticed one by one.",
			unit: units.Short, width: 4,
			queries: []query{{"restores", grown("", "shelfcast_restores_total")}, {"lost versions", grown("", "shelfcast_lost_versions_total")}},
			alerts:  []string{"ShelfcastDatabaseRestored"},
		},
		{
			title: "Census", help: "Questions how many pages show products, and what became of them.",
			unit: units.OpsPerSecond, width: 4,
			queries: []query{
				{"asked", rate("", "shelfcast_census_asked_total")}, {"answered", rate("", "shelfcast_census_answered_total")},
				{"incomplete", rate("", "shelfcast_census_incomplete_total")}, {"dropped: {{reason}}", rate("by (reason)", "shelfcast_census_dropped_total") + " > 0"},
			},
		},
	}}
}
