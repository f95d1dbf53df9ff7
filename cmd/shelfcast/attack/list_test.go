package attack

import "time"

// attacks are made in this order.
var attacks = []attack{
	{name: "nothing at all", run: func(a *attacker) { a.rest(2 * time.Second) }},

	{name: "bombs, public app", run: bombardment(false, nobody), lasts: 30 * time.Second},
	{name: "bombs, admin app, no token", run: bombardment(true, nobody), lasts: 30 * time.Second, long: true},
	{name: "bombs, admin app, token and key", run: bombardment(true, caller), lasts: 60 * time.Second, long: true},

	{name: "uploads, admin app, no token", run: uploads(true, 24*mib, nobody), lasts: 10 * time.Second},
	// Eight batches at a time, of the 16 MiB that one may have.
	{name: "uploads, admin app, token", run: uploads(true, 24*mib, caller), lasts: 30 * time.Second,
		long: true, memory: 160 * mib},
	{name: "uploads, public app", run: uploads(false, 24*mib, nobody), lasts: 10 * time.Second, long: true},
	// Four imports at a time, of which two have lines of 500,000 cells.
	{name: "import of one endless line", run: files, lasts: 20 * time.Second, long: true, memory: 128 * mib},
	{name: "forms of many parts", run: multipart, lasts: 20 * time.Second, long: true},
	{name: "long heads", run: heads, lasts: 20 * time.Second, long: true},
	{name: "long and deep lists", run: lists, lasts: 60 * time.Second, long: true},
	{name: "frames and fragments", run: frames, lasts: 30 * time.Second, long: true},

	{name: "slow readers of polls, one address", run: slowReaders(pollsOf(500), 100, 1)},
	{name: "slow readers of polls, many addresses", run: slowReaders(pollsOf(500), 100, 100), long: true},
	{name: "slow readers of lists of fragments", run: slowReaders(fragmentsOf, 200, 100), long: true},
	{name: "slow readers of every page of the shop", run: slowReadersOfAll(false, nobody),
		lasts: 10 * time.Second, long: true},
	{name: "slow readers of every page of the admin app, no token", run: slowReadersOfAll(true, nobody),
		lasts: 10 * time.Second, long: true},
	// A token has 16 MiB of large answers under way, and an export as much in pieces.
	{name: "slow readers of every page of the admin app, token", run: slowReadersOfAll(true, reader),
		lasts: 10 * time.Second, long: true, memory: 96 * mib},
	// Of each session a frame of fragments waits, of 128 KiB and one fragment.
	{name: "slow readers, sessions", run: slowSessions(300), lasts: 10 * time.Second, long: true, memory: 64 * mib},
	{name: "sessions that never read", run: silentSessions, lasts: 90 * time.Second, long: true, memory: 32 * mib},
	{name: "slow writers of every route", run: slowWriters, lasts: 35 * time.Second, long: true},
	// Messages that are not whole take 16 MiB, and twice as much in Go; what was read of
	// those that were refused (320 MB in ten seconds) is yet to be collected.
	{name: "slow writers of frames", run: slowFrames, lasts: 10 * time.Second, long: true, memory: 80 * mib},

	{name: "unknown products, one socket, unread", run: flood("/live", 1, false, unknown),
		lasts: 5 * time.Second, memory: 8 * mib},
	{name: "unknown products, twenty sockets", run: flood("/live", 20, true, unknown), long: true},
	// All send their lists at once, and what was read of them is yet to be collected. Each
	// of the 200,000 ids is looked up once.
	{name: "unknown products, 400 sessions of 500", run: unknownIDs, lasts: 6 * time.Second, long: true,
		memory: 48 * mib, database: 0.6},
	{name: "unwatch, four sockets", run: flood("/live", 4, true, unwatches)},
	{name: "watch, four sockets", run: flood("/live", 4, true, known), long: true},
	{name: "watch, four sockets, unread", run: flood("/live", 4, false, known), long: true},
	{name: "applied, four sockets", run: flood("/live", 4, true, applied), long: true},
	{name: "pings", run: flood("/live", 4, true, pings), long: true},
	{name: "pings, unread", run: flood("/live", 4, false, pings), long: true},
	{name: "pings in JSON, unread", run: flood("/live", 4, false, spoken), long: true},
	{name: "subscriptions of Odoo", run: flood("/websocket", 4, true, subscriptions), long: true},
	{name: "pings of Odoo, unread", run: flood("/websocket", 4, false, pings), long: true},

	{name: "handshakes, one address", run: handshakes},
	{name: "sessions, one address", run: manySessions, lasts: 8 * time.Second, long: true},
	{name: "polls, one address", run: requests(20, true, 100_000, poll), long: true},
	// An address has ten searches of this cost at once, which take the database some five
	// seconds, and one more in six seconds.
	{name: "searches, one address", run: requests(8, true, 100_000, searchLamps), lasts: 20 * time.Second, database: 0.5},
	// They fill the cache of pages, which has 16 MiB, and that of lists; without a bound of
	// it they would take 340. Each word is looked up once, two at a time.
	{name: "searches for words, many addresses", run: requests(400, false, 40_000, searchWord), lasts: 60 * time.Second,
		long: true, memory: 128 * mib, database: 0.7},
	{name: "ids of no product, one address", run: requests(8, true, 100_000, missing), long: true},
	{name: "calls of Odoo for no product, one address", run: requestsAs(8, true, 100_000, syncs), long: true},
	{name: "versions from the future", run: floodFuture, long: true},
	{name: "invented hosts", run: requestsAs(8, true, 100_000, inventedHost), lasts: 5 * time.Second, long: true},
	{name: "guesses at tokens", run: guesses, lasts: 15 * time.Second},
	{name: "waiting for changes, one token", run: changes, lasts: 5 * time.Second, long: true},

	// Among what it asks for are the sitemaps, which are made for the first time.
	{name: "forged headers", run: forged, lasts: 20 * time.Second, memory: 40 * mib, database: 0.5},
	{name: "tokens without a scope", run: scopes, lasts: 10 * time.Second},
	{name: "products never published", run: drafts, lasts: 10 * time.Second},
	{name: "ids that Odoo is yet to give", run: lastIDs, lasts: 30 * time.Second, long: true},
	{name: "detours", run: detours, lasts: 30 * time.Second, long: true},
}
