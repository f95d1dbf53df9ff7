package doctor

// An explanation has what a problem causes and how to fix it.
type explanation struct{ consequence, fix string }

// explanations has each code that can be reported. A code never changes its meaning, because
// scripts and runbooks use it.
var explanations = map[string]explanation{
	"settings.valid": {
		"an instance does not start",
		"correct the setting; `shelfcast config` prints the effective settings and where each comes from"},
	"settings.public_url": {
		"an instance does not start: pages, structured data and the sitemap would have broken links",
		"set --public-url to the scheme and host that shoppers see, and nothing else: https://shop.example"},
	"settings.no_public_url": {
		"links in the shop's pages have no host: canonical links are paths, and hreflang, og:url and the sitemap are " +
			"missing, so that search engines find less. This does not matter if nobody sees the " +
			"instance's shop pages, as in front of Odoo",
		"set --public-url to the scheme and host that shoppers see: https://shop.example. It is never taken from a " +
			"request, because anyone can send any Host header"},
	"mysql.shop": {
		"an instance does not start: its names in Redis contain the shop's id",
		"run `shelfcast migrate`, which creates the id"},
	"settings.https": {
		"canonical links, structured data and the sitemap contain http, so that search engines index addresses that " +
			"redirect, and a page on https cannot open ws:// connections",
		"set --public-url to https://…"},
	"settings.origins": {
		"pages of origins that are not listed cannot open sessions (403), unless the request's Host is " +
			"the page's own; they stay as they were loaded",
		"list each origin in --origins as browsers send it: scheme and host in lower case, a port only if it is not the " +
			"default, no path, such as https://shop.example"},
	"settings.origins_any": {
		"pages of any site can open sessions and use up the session limit",
		"list the shop's own origins in --origins instead of *"},
	"settings.proxies": {
		"all shoppers seem to have the load balancer's address: beyond --max-sessions-per-address they are refused (429), " +
			"and so are searches beyond --searches-per-minute",
		"list the load balancers' addresses or networks in --trusted-proxies, or set --max-sessions-per-address and " +
			"--searches-per-minute to 0 if there is no load balancer"},
	"settings.proxies_any": {
		"anyone can claim any address in an X-Forwarded-For header and evade the limits per address",
		"list the load balancers' networks only"},
	"system.files": {
		"connections beyond the limit fail, including health checks, MySQL and Redis: the instance looks dead under load",
		"raise the file descriptor limit (ulimit -n, LimitNOFILE= of systemd, ulimits.nofile of a container) some hundreds " +
			"above --max-sessions, or lower --max-sessions"},
	"mysql.dsn": {
		"an instance does not start",
		"write it as user:password@tcp(host:3306)/database"},
	"mysql.reach": {
		"pages show what is cached, edits are refused (503), and a starting instance does not become ready",
		"start the server, or correct host and port in --mysql; check firewalls and NetworkPolicies in between"},
	"mysql.tls": {
		"no connection can be opened, as if the server were down",
		"set --mysql-ca to the CA of the server's certificate, and use the host name in the certificate; " +
			"without TLS, use neither --mysql-ca nor tls="},
	"mysql.login": {
		"no connection can be opened, as if the server were down",
		"correct user and password in --mysql, or on the server: CREATE USER …; GRANT SELECT, INSERT, UPDATE, DELETE ON " +
			"shop.* TO …. A MariaDB that requires TLS reports the same for connections without " +
			"it: set --mysql-ca, or tls=true in the DSN"},
	"mysql.database": {
		"an instance does not become ready, and migrate fails",
		"create it (CREATE DATABASE shop CHARACTER SET utf8mb4), or correct its name in --mysql"},
	"mysql.version": {
		"SQL that Shelfcast relies on fails or behaves differently",
		"use MySQL 8.0 or newer, or MariaDB 10.6 or newer"},
	"mysql.primary": {
		"every edit is refused (503), and migrate fails",
		"use the primary in --mysql, and this server in --mysql-replica. Running instances find a new " +
			"primary behind the same name on their own"},
	"mysql.process": {
		"a commit whose transaction took more than 10 s reaches the pages some seconds late, when it is found by " +
			"comparison (shelfcast_feed_staleness_bound_seconds has the bound), and products that nobody " +
			"watches are read from the database more often",
		"GRANT PROCESS ON *.* TO the user"},
	"mysql.galera": {
		"an instance may read old rows from this node: pages are as late as this node lags",
		"let the user set wsrep_sync_wait for its sessions, which an instance does on " +
			"its own, or SET GLOBAL wsrep_sync_wait = 1"},
	"mysql.schema": {
		"an instance does not start",
		"run `shelfcast migrate` of this release, as a user with CREATE, ALTER and INDEX"},
	"mysql.schema_newer": {
		"nothing during a rollout: a release works with the schema of the next one",
		"update all instances to the newer release"},
	"mysql.rights": {
		"whatever needs the privilege fails: admin API calls return errors, and an instance without SELECT shows no products",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON the database TO the user"},
	"mysql.migrate": {
		"`shelfcast migrate` fails as this user, and a deploy stops there",
		"GRANT CREATE, ALTER, INDEX, TRIGGER ON the database TO the user, or run migrate as another user"},
	"mysql.binlog": {
		"`shelfcast migrate --triggers` fails with error 1419",
		"SET GLOBAL log_bin_trust_function_creators = 1 (and in the server's configuration), or " +
			"install the triggers as a user with SUPER"},
	"mysql.connections": {
		"connections beyond the server's limit are refused (error 1040 or 1203): edits and renders fail under load",
		"raise max_connections (or the user's MAX_USER_CONNECTIONS) above instances × --mysql-max-connections, with one " +
			"more instance for a deploy, or lower --mysql-max-connections"},
	"mysql.definer": {
		"every edit fails (error 1449 or 1142, answered with 503), also those of other programs: a trigger runs with " +
			"the privileges of the user that created it",
		"run `shelfcast migrate --triggers` as a permanent user, which recreates the triggers, or recreate the old user " +
			"with SELECT, UPDATE and TRIGGER on the database"},
	"mysql.events": {
		"changes that a server event makes to products, such as nightly prices, reach the pages after minutes, by comparison",
		"run `shelfcast migrate --triggers` if the events write to products"},
	"mysql.session": {
		"committed changes are not seen, or text is stored wrongly: something between the instance and the server, such as " +
			"a proxy that shares connections, drops session settings",
		"make the proxy keep session settings (ProxySQL: mysql-set_query_lock_on_hostgroup, or no " +
			"multiplexing for this user), or connect without it"},
	"mysql.packet": {
		"long descriptions, imports and large batches are refused (error 1153, answered with 503)",
		"set max_allowed_packet to at least 16M on the server and its replicas"},
	"mysql.idle": {
		"the server closes idle connections before the instance does, and now and then a query fails on one",
		"set wait_timeout to at least 120"},
	"mysql.clock": {
		"latency metrics and their alerts are wrong by this much; pages are not, because versions are the database's time",
		"run NTP (chrony, systemd-timesyncd) on this machine and on the database's"},
	"replica.reach": {
		"rows are read from the primary instead, as without a replica",
		"start the replica, or correct --mysql-replica; it needs the same CA as the primary"},
	"replica.schema": {
		"rows are read from the primary instead, or fields are missing",
		"let the replica catch up, and check that it replicates the whole database"},
	"replica.rights": {
		"rows are read from the primary instead",
		"GRANT SELECT on products to the user there"},
	"replica.lag": {
		"rows that have just been edited are read from the primary, so that the replica saves little",
		"check what delays the replica's SQL thread (SHOW REPLICA STATUS)"},
	"replica.clock": {
		"after a failover to it, new versions continue from the old clock, and the feed is off by the difference: " +
			"for that long, edits come through Redis only",
		"run NTP on both servers"},
	"redis.url": {
		"an instance does not start",
		"write it as redis://user:password@host:6379/0"},
	"redis.reach": {
		"edits reach the pages a second late, each instance renders on its own, and rate limits count per " +
			"instance; the instance serves, and is degraded",
		"start Redis, or correct host and port in --redis; check firewalls and NetworkPolicies in " +
			"between. A server with TLS needs rediss://"},
	"redis.tls": {
		"the same as with Redis down",
		"use rediss:// for a Redis with TLS, and redis:// for one without; set --redis-ca to its CA"},
	"redis.login": {
		"the same as with Redis down",
		"correct user and password in --redis: redis://user:password@host; without a " +
			"user, the password is that of the user default"},
	"redis.protected": {
		"the same as with Redis down",
		"give Redis a password (requirepass, or an ACL user) and use it in --redis; or bind Redis to a " +
			"private network and set protected-mode no"},
	"redis.version": {
		"commands that Shelfcast relies on fail",
		"use Redis 6.2 or newer; 7.0 or newer for a Cluster"},
	"redis.mode": {
		"commands are refused, or reach a server that accepts no writes: the same as with Redis down, partly or completely",
		"a Cluster is redis+cluster://node1:6379?addr=node2:6379, Sentinel redis://sentinel:26379/0?master_name=NAME, a " +
			"single server (its primary) redis://host:6379/0"},
	"redis.rights": {
		"fragments are not shared, rate limits count per instance, or starting instances do not know what is current",
		"give the ACL user ~shelfcast:* (or ~shelfcast:ID:*, with the ID of mysql.shop) and +get +set +del +unlink +scan " +
			"+eval +evalsha +time +ping +publish +subscribe +unsubscribe (in a Cluster " +
			"+spublish +ssubscribe +sunsubscribe +cluster)"},
	"redis.pubsub": {
		"edits reach the pages through the database, a second late, and the instance is degraded",
		"give the ACL user +publish +subscribe (in a Cluster +spublish +ssubscribe) and the channels &product_updates:* " +
			"and &{product_updates:*; check that no proxy in between blocks pub/sub"},
	"redis.eviction": {
		"when its memory is full, Redis rejects writes: fragments are not shared and rate limits " +
			"count per instance, until keys expire",
		"set maxmemory-policy allkeys-lru (or allkeys-lfu, volatile-lru, volatile-lfu, volatile-ttl: everything that " +
			"Shelfcast stores expires and may be lost)"},
	"redis.memory": {
		"Redis stores the fragments of a whole day, until its machine runs out of memory",
		"set maxmemory (256mb is ample for 100,000 fragments of 2 KB) and maxmemory-policy allkeys-lru"},
	"redis.full": {
		"fragments are not shared, and rate limits count per instance",
		"raise maxmemory, and set maxmemory-policy allkeys-lru"},
	"redis.output_buffer": {
		"Redis closes an instance's subscription when many products change at once; what is " +
			"lost comes through the database, a second late",
		"set client-output-buffer-limit \"pubsub 32mb 8mb 60\", which is the default"},
	"redis.saving": {
		"the same as with a full Redis, and PING is refused too: fragments are not " +
			"shared, and rate limits count per instance",
		"find out why it cannot save (its log: a full disk, no memory to fork, missing permissions); or, because " +
			"everything that Shelfcast stores may be lost, turn saving off: CONFIG SET " +
			"save \"\", or stop-writes-on-bgsave-error no"},
	"redis.loading": {
		"the same as with Redis down, until it has loaded its data",
		"wait; if it takes long, make it store less: maxmemory 256mb is ample"},
	"redis.open": {
		"anyone who can reach Redis can publish, read and delete",
		"set a password (requirepass, or an ACL user) and use it in --redis, and " +
			"close the port to everything but the instances"},
}
