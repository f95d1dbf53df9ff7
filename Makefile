# Run `make test` before a commit. On a fresh Debian machine with Go it installs the
# servers and the browser that the tests need.

.PHONY: help test deps compile quick lint vet fleet-test go-test race web-test mysql-test matrix demo-test bench demo build loadtest loadtest-test fuzz chaos attack openapi-fuzz rolling sbom image-test watch-test dashboard chart chart-apiserver chart-schemas tour long

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

# Most tests wait for servers and browsers most of the time, so two stages run at once.
# The linters come first, and then the long ones.
test: deps compile web/node_modules/.package-lock.json ## Run every test; nothing is skipped; six minutes on two cores
	@$(MAKE) --no-print-directory -j2 --output-sync=target lint fleet-test go-test mysql-test loadtest-test image-test web-test demo-test chart watch-test

deps:
	@scripts/test-deps

# On a machine that has nothing yet this takes a quarter of an hour, in which tests would
# wait for the compiler and miss their deadlines.
compile: ## Compile what the tests need
	@go build -race ./...
	@for module in $(MODULES) deploy/charttest deploy/watchtest deploy/imagetest; do (cd $$module && go vet ./...) || exit 1; done
	@$(GOLANGCI) version >/dev/null

# Those with code; the modules below deploy/ have tests only.
MODULES = . cmd/demo cmd/loadtest web/build
GOLANGCI = go tool -modfile="$(CURDIR)/scripts/lint/go.mod" golangci-lint

quick: lint ## Run the linters, and the tests that need no server, browser or built program
	go test -short ./...

lint: vet ## Run gofmt, vet and golangci-lint, whose version scripts/lint pins; the first run builds it
	@for module in $(MODULES); do (cd $$module && $(GOLANGCI) run ./...) || exit 1; done

vet: ## Run gofmt and vet, also for other operating systems
	@test -z "$$(gofmt -l .)" || { echo "not gofmt-ed:"; gofmt -l .; exit 1; }
	@for module in $(MODULES); do (cd $$module && go vet ./...) || exit 1; done
	GOOS=darwin go build ./realtime
	cd cmd/loadtest && GOOS=darwin go build -o /dev/null .

# The packages whose tests run whole instances. In them -race is for `make race`: their
# parts meet in the tests of the other packages, too.
FLEET = ./server ./cmd/shelfcast/...

fleet-test: web/node_modules/.package-lock.json ## Run the tests of whole instances, with real servers and a real browser
	SHELFCAST_TEST_REQUIRE=1 go test -p 2 -parallel 4 -timeout 20m $(FLEET)

go-test: ## Run the tests of the other packages, with real servers and the race detector
	SHELFCAST_TEST_REQUIRE=1 go test -race -p 1 -parallel 3 -timeout 20m $$(go list ./... | grep -vxF "$$(go list $(FLEET))")
	go test -run 'TestModel' ./realtime
	go test -run TestNothingOf ./api/admin ./api/public

race: deps web/node_modules/.package-lock.json ## Run the tests of whole instances with the race detector; ten minutes
	SHELFCAST_TEST_REQUIRE=1 go test -race -p 1 -parallel 3 -timeout 30m $(FLEET)
	cd cmd/demo && go test -race -timeout 10m ./...
	cd cmd/loadtest && SHELFCAST_TEST_REQUIRE=1 go test -race -parallel 3 -timeout 20m ./...

mysql-test: ## Run the store's tests on MySQL, which is downloaded into the user's cache; prints NOT RUN if that fails
	@if mysqld=$$(scripts/test-servers mysql); then \
		SHELFCAST_TEST_REQUIRE=1 SHELFCAST_TEST_MYSQL=$$mysqld SHELFCAST_TEST_MYSQL_FLAGS= go test -timeout 20m ./store/... ./testkit; \
	else \
		echo "NOT RUN: the store's tests on MySQL, whose packages could not be downloaded"; \
	fi

matrix: deps web/node_modules/.package-lock.json ## Run the tests of store, doctor, server and chaos on three databases with three Redis each; two hours
	@scripts/matrix

demo-test: ## Run the demo's tests; it is a separate module
	cd cmd/demo && go test -timeout 10m ./...

loadtest-test: deps ## Run the load test's own tests; it is a separate module
	cd cmd/loadtest && SHELFCAST_TEST_REQUIRE=1 go test -parallel 6 -timeout 20m ./...

web-test: web/node_modules/.package-lock.json ## Check the client's types and run its tests
	cd web && ../scripts/with-node npm test --silent
	cd web/build && go test ./...

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && ../scripts/with-node npm ci --no-audit --no-fund --loglevel=error

bench: deps ## Run the benchmarks that docs/figures.md quotes
	go test -run '^$$' -bench 'Hub|Delivery$$|Fragment|Sync' -benchmem ./realtime ./render ./api/public
	go test -run '^$$' -bench DeliveryVersusWrite -benchtime 15x ./realtime
	go test -run '^$$' -bench Edit -benchtime 1000x ./server
	go test -run '^$$' -bench OdooFanOut -benchtime 50x ./server
	go test -run '^$$' -bench BatchToFrame -benchtime 20x ./server
	go test -run '^$$' -bench Batch -benchtime 20x ./store
	go test -run '^$$' -bench Served -benchtime 1x ./server

loadtest: deps ## Run the load tests that docs/figures.md quotes: 5,000 to 15,000 browsers; five minutes
	cd cmd/loadtest && go test -run '^$$' -bench Load -benchtime 1x -v -timeout 30m .

chaos: deps web/node_modules/.package-lock.json ## Run every fault on three instances and 300 pages, and the larger models; five minutes
	SHELFCAST_TEST_REQUIRE=1 SHELFCAST_TEST_LONG=1 go test -count=1 -v -timeout 20m -run 'TestChaos' ./cmd/shelfcast/chaos
	SHELFCAST_TEST_LONG=1 go test -count=1 -v -timeout 20m -run 'TestModelEnds' ./realtime

attack: deps ## Run every attack on two instances, with limits on memory and time; fifteen minutes
	SHELFCAST_TEST_REQUIRE=1 SHELFCAST_TEST_LONG=1 go test -count=1 -v -timeout 40m ./cmd/shelfcast/attack

long: race chaos attack rolling openapi-fuzz ## Run the long forms of tests; also each page of the shop in each theme
	SHELFCAST_TEST_REQUIRE=1 SHELFCAST_TEST_LONG=1 go test -count=1 -v -timeout 20m -run 'IsAccessible|LateCommit' ./server

fuzz: ## Run each fuzz test for 90 seconds
	@for f in catalog/shopify:FuzzRead catalog/shopify:FuzzRoundTrip store:FuzzPrice store:FuzzEdit store:FuzzSanitizeHTML realtime:FuzzFrames realtime:FuzzOdoo realtime:FuzzClose realtime:FuzzWatchList \
		realtime:FuzzRequest api/public:FuzzSync api/public:FuzzShopQuery api/httpx:FuzzNetworks api/httpx:FuzzForwarded api/public:FuzzPublicConnection api/admin:FuzzAdminConnection api/auth:FuzzJWT server:FuzzRedisURL; do \
		go test ./$${f%%:*} -run '^$$' -fuzz "^$${f##*:}$$" -fuzztime 90s || exit 1; done

openapi-fuzz: deps ## Send 50,000 requests generated from the OpenAPI document to the admin API
	SHELFCAST_TEST_REQUIRE=1 SHELFCAST_TEST_LONG=1 go test -count=1 -v -timeout 20m -run OpenAPIFuzz ./server

demo: ## Run a shop on two instances, with nothing to install
	go run -C cmd/demo .

rolling: deps ## Run rolling restarts with 3,000 pages, behind HAProxy and nginx; five minutes
	cd cmd/loadtest && SHELFCAST_TEST_REQUIRE=1 SHELFCAST_TEST_LONG=1 go test -count=1 -v -timeout 30m -run 'TestRollingRestart' .

tour: deps ## Run the commands of docs/tour.md: install, load, break and upgrade a fleet; three minutes
	scripts/tour

build: ## Build the program into bin/, with VERSION and REVISION
	VERSION="$(VERSION)" REVISION="$(REVISION)" scripts/build "$(CURDIR)/bin/shelfcast"

# Version and revision of a build.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)

sbom: build ## Write the SBOM of the program in bin/ to bin/shelfcast.cdx.json (CycloneDX)
	VERSION="$(VERSION)" scripts/sbom bin/shelfcast bin/shelfcast.cdx.json

image-test: deps ## Test the image and the compose file without Docker: run the Dockerfile's commands in an empty root
	cd deploy/imagetest && go vet ./... && SHELFCAST_TEST_REQUIRE=1 go test -count=1 -timeout 20m ./...

watch-test: deps ## Test the alerts with promtool, and check dashboard, runbook and metrics against each other
	cd deploy/watchtest && go vet ./... && SHELFCAST_TEST_REQUIRE=1 go test -count=1 ./...

dashboard: ## Generate the chart's Grafana dashboard
	cd deploy/watchtest && go run . > dashboard.json.new && mv dashboard.json.new ../../charts/shelfcast/files/dashboard.json

# These tests use Helm as a library, in a separate module. The first run builds it.
chart: ## Test the Helm chart: lint, golden files, what it refuses, and Kubernetes' schemas
	# -count=1, because Go's test cache does not notice changes outside of the module.
	cd deploy/charttest && go vet ./... && go test -count=1 ./...

chart-apiserver: ## Test the chart in a real Kubernetes (etcd, API server, controllers, scheduler), which is built once and cached
	@scripts/test-deps cluster
	# Tests mostly wait for controllers, so many run in parallel.
	cd deploy/clustertest && go vet . && go test -count=1 -v -parallel 40 -timeout 60m .
	@scripts/cluster-sum > deploy/clustertest/passed

chart-schemas: ## Regenerate the Kubernetes schemas that the chart is checked against; downloads Kubernetes' sources
	cd deploy/charttest && go run ./schemas
