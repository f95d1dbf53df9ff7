# `make test` is all there is to run before a commit: on a fresh Debian machine
# with Go it installs the servers and the browser that the tests need.

# The product is built and tested without the demo's modules.
export GOWORK = off

.PHONY: help test deps lint go-test web-test demo-test bench demo build crowd fuzz chaos attack stranger rolling sbom image-test watch-test dashboard chart chart-apiserver chart-schemas tour long

help: ## Say what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

test: deps lint web-test go-test demo-test chart watch-test image-test ## Run every test; nothing is skipped

deps:
	@scripts/test-deps

lint: ## gofmt and vet, also of what other systems than this one run
	@test -z "$$(gofmt -l .)" || { echo "not gofmt-ed:"; gofmt -l .; exit 1; }
	go vet ./...
	cd cmd/demo && go vet ./...
	GOOS=darwin go build ./realtime ./cmd/crowd

go-test: web/node_modules/.package-lock.json ## The product's tests, with real servers and a real browser
	# One package at a time: each has servers, browsers and deadlines of its own,
	# and on two processors two at once take as long and get in each other's way. The
	# tests of a package that are mostly waiting do so together.
	SHELFCAST_TEST_REQUIRE=1 go test -race -p 1 -parallel 3 -timeout 20m ./...
	go test -run 'TestTheProtocolEnds|TestEachRepairIsNeeded' ./realtime
	go test -run TestNothingThatIsKept ./api

demo-test: ## The demo's tests, as a module of its own and in the workspace
	cd cmd/demo && go test -race -timeout 10m ./...
	GOWORK= go build -o /dev/null ./cmd/demo

web-test: web/node_modules/.package-lock.json ## The client's types and tests
	cd web && ../scripts/with-node npm test --silent

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && ../scripts/with-node npm ci --no-audit --no-fund --loglevel=error

bench: deps ## The benchmarks that the README quotes
	go test -run '^$$' -bench 'Hub|Delivery|Fragment|Sync' -benchmem ./realtime ./render ./api
	go test -run '^$$' -bench Floor -benchtime 15x ./realtime
	go test -run '^$$' -bench Edit -benchtime 1000x ./cmd/shelfcast/serve
	go test -run '^$$' -bench OdooFanOut -benchtime 50x ./cmd/shelfcast/serve
	go test -run '^$$' -bench BatchToFrame -benchtime 20x ./cmd/shelfcast/serve
	go test -run '^$$' -bench Batch -benchtime 20x ./store
	go test -run '^$$' -bench Served -benchtime 1x ./cmd/shelfcast/serve

crowd: deps ## The crowds that the README quotes; five minutes
	go test -run '^$$' -bench Crowd -benchtime 1x -v -timeout 30m ./cmd/crowd

chaos: deps web/node_modules/.package-lock.json ## Every fault, on three instances and 300 pages, and the larger models; five minutes
	SHELFCAST_TEST_REQUIRE=1 SHELFCAST_TEST_LONG=1 go test -count=1 -v -timeout 20m -run 'TestChaos' ./cmd/shelfcast/chaos
	SHELFCAST_TEST_LONG=1 go test -count=1 -v -timeout 20m -run 'TestTheProtocolEnds' ./realtime

attack: deps ## Every attack on two instances, with bounds in bytes and in time; fifteen minutes
	SHELFCAST_TEST_REQUIRE=1 SHELFCAST_TEST_LONG=1 go test -count=1 -v -timeout 40m ./cmd/shelfcast/attack

long: chaos attack rolling stranger ## What `make test` has a short form of, in full; also each page of the shop in each look
	SHELFCAST_TEST_REQUIRE=1 SHELFCAST_TEST_LONG=1 go test -count=1 -v -timeout 20m -run 'ForEverybody' ./cmd/shelfcast/serve

fuzz: ## Each fuzz test for a minute and a half
	@for f in store/shopify:FuzzRead store/shopify:FuzzRoundTrip store:FuzzPrice store:FuzzEdit store:FuzzSanitizeHTML realtime:FuzzFrames realtime:FuzzOdoo realtime:FuzzClose realtime:FuzzWatchList \
		realtime:FuzzRequest api:FuzzSync api:FuzzBrowse api:FuzzNetworks api:FuzzForwarded api:FuzzWire api:FuzzJWT cmd/shelfcast/serve:FuzzRedisURL; do \
		go test ./$${f%%:*} -run '^$$' -fuzz "^$${f##*:}$$" -fuzztime 90s || exit 1; done

stranger: deps ## Fifty thousand requests of the admin API, made from its document
	SHELFCAST_TEST_REQUIRE=1 SHELFCAST_TEST_LONG=1 go test -count=1 -v -timeout 20m -run Stranger ./cmd/shelfcast/serve

demo: ## A shop on two instances, with nothing to install
	GOWORK= go run ./cmd/demo

rolling: deps ## Rolling restarts under 3,000 pages, behind HAProxy and nginx; five minutes
	SHELFCAST_TEST_REQUIRE=1 SHELFCAST_TEST_LONG=1 go test -count=1 -v -timeout 30m -run 'TestARollingRestart' ./cmd/crowd

tour: deps ## docs/tour.md, command by command: a fleet is installed, loaded, broken and upgraded; three minutes
	scripts/tour

build: ## The program, in bin/, with VERSION and REVISION in it
	VERSION="$(VERSION)" REVISION="$(REVISION)" scripts/build "$(CURDIR)/bin/shelfcast"

# What a build says that it is of.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)

sbom: build ## What the program in bin/ is made of, in bin/shelfcast.cdx.json (CycloneDX)
	VERSION="$(VERSION)" scripts/sbom bin/shelfcast bin/shelfcast.cdx.json

image-test: deps ## The image and the compose file, without Docker: what the Dockerfile runs, in an empty root
	cd deploy/imagetest && go vet ./... && SHELFCAST_TEST_REQUIRE=1 go test -count=1 -timeout 20m ./...

watch-test: deps ## The alerts with promtool, and dashboard, runbook and metrics against each other
	cd deploy/watchtest && go vet ./... && SHELFCAST_TEST_REQUIRE=1 go test -count=1 ./...

dashboard: ## Write the chart's Grafana dashboard
	cd deploy/watchtest && go run . > dashboard.json.new && mv dashboard.json.new ../../charts/shelfcast/files/dashboard.json

# Helm is a library of these tests, and a module of its own. The first run builds it.
chart: ## The Helm chart: lint, golden files, what is refused, and what Kubernetes takes
	# What it reads is outside of its module, which go's cache of results does not look at.
	cd deploy/charttest && go vet ./... && go test -count=1 ./...

chart-apiserver: ## The chart in a real Kubernetes (etcd, API server, controllers, scheduler), which is built once and kept in the user's cache
	@scripts/test-deps cluster
	# Most of a test is waiting for controllers, so many run at once.
	cd deploy/clustertest && go vet . && go test -count=1 -v -parallel 40 -timeout 60m .

chart-schemas: ## Make the schemas of Kubernetes anew that the chart is held against; fetches its sources
	cd deploy/charttest && go run ./schemas
