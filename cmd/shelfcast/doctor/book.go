package doctor

// page is what a finding leads to, and how it is mended.
type page struct{ leadsTo, mend string }

// book has the page of each code that may be found wrong. A code is never given
// another meaning: scripts and runbooks name it.
var book = map[string]page{
	"settings.valid": {
		"an instance does not start",
		"correct the setting; `shelfcast config` shows what is in force, and from where"},
	"settings.public_url": {
		"an instance does not start: the pages, structured data and the sitemap would name addresses that are none",
		"set --public-url to the scheme and host that shoppers see, and nothing else: https://shop.example"},
	"settings.no_public_url": {
		"the shop's pages name no host: canonical links are paths, and hreflang, og:url and the sitemap are missing, so that search engines find less. It is no matter for an instance whose shop pages nobody sees, as in front of Odoo",
		"set --public-url to the scheme and host that shoppers see: https://shop.example. It is never taken from a request, in which anybody may say anything"},
	"mysql.shop": {
		"an instance does not start: what it keeps in Redis would have no name of its own",
		"run `shelfcast migrate`, which makes the id where there is none"},
	"settings.https": {
		"canonical links, structured data and the sitemap name http, so that search engines index addresses that redirect, and a page on https opens no ws:// connection",
		"set --public-url to https://…"},
	"settings.origins": {
		"pages of an origin that is not named open no session (403) unless the request's Host is the page's own; such pages stay as they were loaded",
		"name in --origins each origin as a browser says it: scheme and host in lower case, a port only if it is not the usual one, no path, as https://shop.example"},
	"settings.origins_any": {
		"pages of any site may open sessions here, and use up the session budget",
		"name the shop's own origins in --origins instead of *"},
	"settings.proxies": {
		"all shoppers seem to come from the load balancer's address: beyond --max-sessions-per-address of them all are refused (429), and so are searches beyond --searches-per-minute",
		"name the load balancers' addresses or networks in --trusted-proxies, or set --max-sessions-per-address and --searches-per-minute to 0 if nothing stands in between"},
	"settings.proxies_any": {
		"anybody may claim any address by an X-Forwarded-For header, and get around the limits for addresses",
		"name the load balancers' networks only"},
	"system.files": {
		"connections beyond the limit fail, and with them the probes, MySQL and Redis: the instance looks dead at its busiest",
		"raise the limit of open files (ulimit -n, LimitNOFILE= of systemd, ulimits.nofile of a container) above --max-sessions by some hundreds, or lower --max-sessions"},
	"mysql.dsn": {
		"an instance does not start",
		"write it as user:password@tcp(host:3306)/database"},
	"mysql.reach": {
		"pages show what is cached and nothing newer, edits are refused (503), and an instance that starts is not ready",
		"start the server, or correct the host and port in --mysql; look for a firewall or NetworkPolicy in between"},
	"mysql.tls": {
		"no connection is made: as with a server that is away",
		"give the authority of the server's certificate with --mysql-ca, and name the server as the certificate does; without TLS leave out both --mysql-ca and tls="},
	"mysql.login": {
		"no connection is made: as with a server that is away",
		"correct the user and password in --mysql, or on the server: CREATE USER …; GRANT SELECT, INSERT, UPDATE, DELETE ON shop.* TO …. A MariaDB that wants TLS says the same to whoever speaks none: --mysql-ca, or tls=true in the DSN"},
	"mysql.database": {
		"an instance does not get ready, and migrate fails",
		"create it (CREATE DATABASE shop CHARACTER SET utf8mb4), or correct its name in --mysql"},
	"mysql.version": {
		"statements fail that the product relies on, or mean something else there",
		"use MySQL 8.0 or newer, or MariaDB 10.6 or newer"},
	"mysql.primary": {
		"every edit is refused (503), and so is migrate",
		"name the primary in --mysql, and this server in --mysql-replica"},
	"mysql.schema": {
		"an instance does not start",
		"run `shelfcast migrate` of this release, as a user that may CREATE, ALTER and INDEX"},
	"mysql.schema_newer": {
		"nothing, if it is for the time of a roll-out: a release works with the schema of the next one",
		"bring all instances to the newer release"},
	"mysql.rights": {
		"what needs the right fails: calls of the admin API end in an error, and an instance without SELECT shows no product",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON the database TO the user"},
	"mysql.migrate": {
		"`shelfcast migrate` fails as this user, and a deploy stops there",
		"GRANT CREATE, ALTER, INDEX, TRIGGER ON the database TO the user, or run migrate as another one"},
	"mysql.binlog": {
		"`shelfcast migrate --triggers` fails with error 1419",
		"SET GLOBAL log_bin_trust_function_creators = 1 (and in the server's configuration), or install the triggers as a user with SUPER"},
	"mysql.binlog_format": {
		"every edit fails: InnoDB cannot log statements at this isolation (error 1665)",
		"set binlog_format=ROW on the server"},
	"mysql.isolation": {
		"READ UNCOMMITTED shows shoppers edits that may be rolled back; SERIALIZABLE makes edits of the same products wait for each other and fail",
		"set transaction_isolation to READ-COMMITTED or REPEATABLE-READ on the server, and leave it out of the DSN"},
	"mysql.connections": {
		"connections beyond the server's limit are refused (error 1040 or 1203): edits and renders fail just when there is most to do",
		"raise max_connections (or the user's MAX_USER_CONNECTIONS) above instances × --mysql-connections and one instance more for a deploy, or lower --mysql-connections"},
	"mysql.strict": {
		"the server cuts values that do not fit, and says nothing",
		"have STRICT_TRANS_TABLES in sql_mode, as is the default"},
	"mysql.idle": {
		"the server closes connections that are idle before the instance does, and now and then a query meets one",
		"set wait_timeout to 120 or more"},
	"mysql.clock": {
		"the metrics of how late pages are (and the alerts on them) are wrong by as much; pages are not, as versions are the database's own time",
		"run NTP (chrony, systemd-timesyncd) on this machine and on the database's"},
	"replica.reach": {
		"rows are read on the primary instead: it works as if there were no replica",
		"start the replica, or correct --mysql-replica; it needs the same certificate authority as the primary"},
	"replica.schema": {
		"rows are read on the primary instead, or fields are missing",
		"let the replica catch up, and see that it copies the whole database"},
	"replica.rights": {
		"rows are read on the primary instead",
		"GRANT SELECT on products to the user there"},
	"replica.lag": {
		"rows that were edited just now are read on the primary: the replica takes little off it",
		"see what holds up the replica's SQL thread (SHOW REPLICA STATUS)"},
	"replica.clock": {
		"when it becomes the primary, versions go on from the old clock and what the feed reads is off by the difference: edits come by Redis alone for so long",
		"run NTP on both servers"},
	"redis.url": {
		"an instance does not start",
		"write it as redis://user:password@host:6379/0"},
	"redis.reach": {
		"edits come to the pages a second late, each instance renders for itself, and limits count by instance; the instance is degraded, and serves",
		"start Redis, or correct the host and port in --redis; look for a firewall or NetworkPolicy in between. One that speaks TLS wants rediss://"},
	"redis.tls": {
		"as with a Redis that is away",
		"rediss:// is for a Redis that speaks TLS, redis:// for one that does not; give its authority with --redis-ca"},
	"redis.login": {
		"as with a Redis that is away",
		"correct the user and password in --redis: redis://user:password@host; without a user it is default's"},
	"redis.protected": {
		"as with a Redis that is away",
		"give Redis a password (requirepass, or an ACL user) and name it in --redis; or bind it to a private network and set protected-mode no"},
	"redis.version": {
		"commands fail that the product relies on",
		"use Redis 6.2 or newer; 7.0 or newer for a Cluster"},
	"redis.mode": {
		"commands are refused, or go to a server that takes no writes: as with a Redis that is away, in whole or in part",
		"a Cluster is redis+cluster://node1:6379?addr=node2:6379, Sentinel redis://sentinel:26379/0?master_name=NAME, a single server (its primary) redis://host:6379/0"},
	"redis.rights": {
		"fragments are not shared, rate limits count by instance, or what is current is not known to instances that start",
		"give the ACL user ~shelfcast:* (or ~shelfcast:ID:*, with the ID of mysql.shop) and +get +set +del +unlink +scan +eval +evalsha +time +ping +publish +subscribe +unsubscribe (in a Cluster +spublish +ssubscribe +sunsubscribe +cluster)"},
	"redis.pubsub": {
		"edits come to the pages by the database, a second late, and the instance says degraded",
		"give the ACL user +publish +subscribe (in a Cluster +spublish +ssubscribe) and the channels &product_updates:* and &{product_updates:*; and see that no proxy in between leaves pub/sub out"},
	"redis.eviction": {
		"when its memory is full Redis refuses writes: fragments are no longer shared and rate limits count by instance, until keys expire (a day)",
		"set maxmemory-policy allkeys-lru (or allkeys-lfu, volatile-lru, volatile-lfu, volatile-ttl: all that Shelfcast keeps expires and may be lost)"},
	"redis.memory": {
		"Redis grows by each fragment of a day, until its machine ends it",
		"set maxmemory (256mb is ample for 100,000 fragments of 2 KB) and maxmemory-policy allkeys-lru"},
	"redis.full": {
		"fragments are no longer shared and rate limits count by instance",
		"raise maxmemory, and set maxmemory-policy allkeys-lru"},
	"redis.output_buffer": {
		"Redis cuts the subscription of an instance when many products change at once: what is lost comes by the database, a second late",
		"set client-output-buffer-limit \"pubsub 32mb 8mb 60\", as is the default"},
	"redis.open": {
		"whoever reaches Redis may publish, read and delete",
		"set a password (requirepass, or an ACL user) and name it in --redis, and close the port to all but the instances"},
}
