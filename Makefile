# The tools are pinned here and fetched by the go command; nothing is installed.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
ERRCHECK    = github.com/kisielk/errcheck@v1.30.0

FUZZTIME  ?= 60s
FUZZJOBS  ?= 4
BENCHTIME ?= 1s
SOAK      ?= 10m
# The black-box tests start many processes; a machine that hangs ends after this.
TIMEOUT   ?= 15m

# Each module of the repository, by folder. Only the root is what people import.
MODULES = . $(patsubst %/go.mod,%,$(wildcard */go.mod))

.PHONY: help setup test unit race lint fuzz compat compat-race hostile diff crash powercut linear soak gobench bench bench-large bench-restart docs cross

help: ## print this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## fetch the Go modules of all tests
	@set -e; for m in $(MODULES); do (cd $$m && go mod download); done

test: setup lint race compat compat-race ## all that a change must pass

unit: ## the tests of the module, quickly
	go test ./...

# Under the race detector Pebble takes a stack for each use of a table. These tests use many,
# one after the other, and so run without it. It also does not let the server use its sockets.
SEQUENTIAL = ^Test(Damage|Repair|Salvage|Check|Room_Quota)
race: ## the tests of the module under the race detector
	go test -race -timeout $(TIMEOUT) -skip '$(SEQUENTIAL)' ./...
	go test -run '$(SEQUENTIAL)' ./storage/pebble
	go test ./server

compat: ## the black-box tests: real clients, redis-server, kill -9
	cd compat_test && go vet ./... && go test -race -count=1 -timeout $(TIMEOUT) ./...

# What looks at memory and processor time is left out: the race detector takes much of both.
compat-race: ## the same with a server built with -race, where that changes nothing
	cd compat_test && SESSIOND_BUILD_FLAGS=-race go test -race -count=1 -timeout $(TIMEOUT) \
		-run 'TestDiff|TestCrash|TestGo|TestACL|TestRedisCLI|TestExpress|TestConnectRedis/v(3|7|10)' .

lint: ## gofmt, vet, staticcheck, errcheck and the rules of this repository
	@unformatted=$$(find . -name node_modules -prune -o -name '*.go' -print | xargs gofmt -l); \
	if [ -n "$$unformatted" ]; then echo "not formatted:" $$unformatted; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...
	go run $(ERRCHECK) -ignoretests -exclude .errcheck ./...
	go test -count=1 ./internal/...

# The tests of a package are built once for all of its targets. A run at times calls it a failure
# that time ran out in the middle of an input; a real one has left its input in testdata, where
# the second run finds it.
FUZZDIR = $(CURDIR)/dist/fuzz
fuzz: ## each fuzz target for FUZZTIME (60s; a quick run: make fuzz FUZZTIME=10s)
	@mkdir -p $(FUZZDIR); : > $(FUZZDIR)/targets; \
	for pkg in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs dirname | sort -u); do \
		bin=$(FUZZDIR)/$$(basename $$pkg).test; \
		go test -c -fuzz . -o $$bin $$pkg || exit 1; \
		$$bin -test.list '^Fuzz' | sed "s|.*|$$pkg $$bin &|" >> $(FUZZDIR)/targets; \
	done; \
	xargs -P $(FUZZJOBS) -L 1 sh -c 'cd $$0; \
		out=$$($$1 -test.run "^$$" -test.fuzz "^$$2\$$" -test.fuzztime $(FUZZTIME) -test.fuzzminimizetime 100x \
			-test.parallel 1 -test.fuzzcachedir $$(go env GOCACHE)/fuzz 2>&1) || \
		$$1 -test.run "^$$2\$$" || { echo "$$out"; exit 1; }; \
		echo "$$2: $$(echo "$$out" | grep execs: | tail -1)"' < $(FUZZDIR)/targets

hostile: ## the attacks on a running server, ten times the size
	cd compat_test && SESSIOND_HOSTILE_SCALE=10 go test -count=1 -timeout 1h -run Hostile .

diff: ## 200000 random commands, compared with redis-server
	cd compat_test && SESSIOND_DIFF_COMMANDS=200000 go test -count=1 -timeout 1h -run '(?i)diff' ./...

crash: ## 200 rounds of kill -9 and the like in each mode of durability
	cd compat_test && SESSIOND_CRASH_ROUNDS=200 go test -v -count=1 -timeout 1h -run 'TestCrash|TestLedger' .

# The file system is in memory, and the power of it is cut, or the process ends that has it; so
# this needs no disk and no root.
powercut: ## 1000 power cuts and 10000 kills for each durability, a cut and a failure at each file operation
	SESSIOND_POWER_CUTS=1000 SESSIOND_KILLS=10000 SESSIOND_CRASH_POINTS=1 SESSIOND_DISK_FAILURES=1 \
		go test -v -count=1 -timeout 1h -run 'TestPowerCut|TestJournal_AnyMoment|TestCrashPoint|TestBadDisk' ./storage/pebble

linear: ## 1000 concurrent histories in each mode, with kill -9, checked for linearizability
	cd compat_test && SESSIOND_LINEAR_HISTORIES=1000 go test -v -count=1 -timeout 2h -run 'TestLinear' .

soak: ## load and ends of all kinds against one folder for SOAK (10m)
	cd compat_test && SESSIOND_SOAK=$(SOAK) go test -v -count=1 -timeout 0 -run 'TestSoak' .

gobench: ## the benchmarks of the module
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

# The machine must have nothing else to do. BENCHFLAGS are those of go run ./bench table.
bench: ## sessiond beside redis-server: the table of targets for speed
	go run ./bench table $(BENCHFLAGS)

bench-large: ## the same for ten million sessions
	go run ./bench large $(BENCHFLAGS)

bench-restart: ## how long after kill -9 five million sessions are back
	go run ./bench restart $(BENCHFLAGS)

docs: ## write docs/commands.md from the command table
	go run ./internal/docgen > docs/commands.md.new
	mv docs/commands.md.new docs/commands.md

cross: ## build for all systems and processors, without cgo, into dist
	@set -e; for os in linux darwin windows; do for arch in amd64 arm64; do \
		ext=; if [ $$os = windows ]; then ext=.exe; fi; \
		echo "dist/sessiond-$$os-$$arch$$ext"; \
		CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch go build -trimpath -ldflags "-s -w" -o dist/sessiond-$$os-$$arch$$ext ./cmd/sessiond; \
	done; done
