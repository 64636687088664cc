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

.PHONY: help setup test quick unit race race-build lint fuzz fuzz-build compat compat-build compat-rest compat-race hostile hostile-share diff crash powercut linear soak gobench bench bench-large bench-restart docs systems cross

help: ## print this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## fetch the Go modules of all tests
	@set -e; for m in $(MODULES); do (cd $$m && go mod download); done

# What several of the tests need is built once, before. The attacks come last, and what checks the
# same replies with a server built with -race runs beside them: they wait for most of their time.
test: setup lint systems race compat-rest ## all that a change must pass
	$(MAKE) --no-print-directory -j 2 hostile-share compat-race

unit: ## the tests of the module, quickly
	go test ./...

# What no change reaches, the go command remembers.
quick: lint unit ## what a change of one package needs: make lint, make unit, and the replies of Redis
	cd compat_test && go test -race -vet=off -count=1 -run 'TestDiff_Stories|TestACL_Stories' .

# Under the race detector Pebble takes a stack for each use of a table. These tests use many,
# one after the other, and so run without it. It also does not see raw system calls: a build with
# it makes others in their place, so what makes raw ones is tested without it, too.
# The random models compare every record after each step: with it they take a few steps, and
# many without it. What make lint has vetted is not vetted again, but for the calls in place of
# raw ones. The power is cut a few times under the race detector, and often without.
SEQUENTIAL = Damage|Open_Damage|Repair|Salvage|Check|Room_Quota|Room_Delet|Open_FullDisk
race: race-build ## the tests of the module under the race detector
	ENGINETEST_STEPS=500 SESSIOND_POWER_CUTS=10 SESSIOND_MATRIX=40 SESSIOND_STEPS=30 go test -race -vet=off -timeout $(TIMEOUT) -skip '^Test($(SEQUENTIAL))' ./...
	ENGINETEST_STEPS=4500 go test -vet=off -run '^Test($(SEQUENTIAL)|Engine_Model|Model_|PowerCut|Matrix|Steps)' ./storage/...
	go test -vet=off ./internal/rawsocket ./server

race-build:
	@mkdir -p $(TESTDIR)
	go vet -race ./internal/rawsocket
	go build -race -o $(TESTDIR)/sessiond-race ./cmd/sessiond

# The programs that the black-box tests run, and the tests themselves. vet looks at what -race
# builds, so that no client is compiled twice. It finds all that go test would look for once more.
TESTDIR = $(CURDIR)/dist/test
compat-build: race-build
	go build -o $(TESTDIR)/sessiond ./cmd/sessiond
	cd compat_test && go vet -race ./... && go test -race -vet=off -c -o $(TESTDIR)/ ./...

compat: compat-rest hostile-share ## the black-box tests: real clients, redis-server, kill -9

# An attack has to leave others served within a second, so what runs beside it is nice.
hostile-share: compat-build
	cd compat_test && SESSIOND_BINARY=$(TESTDIR)/sessiond $(TESTDIR)/compat_test.test -test.timeout $(TIMEOUT) -test.run '^TestHostile'

compat-rest: compat-build
	cd compat_test/diff && $(TESTDIR)/diff.test -test.timeout $(TIMEOUT)
	cd compat_test && SESSIOND_BINARY=$(TESTDIR)/sessiond $(TESTDIR)/compat_test.test -test.timeout $(TIMEOUT) -test.parallel 6 -test.skip '^TestHostile'

# What looks at memory and processor time is left out: the race detector takes much of both.
compat-race: compat-build ## the same with a server built with -race, where that changes nothing
	cd compat_test && SESSIOND_BINARY=$(TESTDIR)/sessiond-race nice -n 19 $(TESTDIR)/compat_test.test -test.timeout $(TIMEOUT) -test.parallel 6 \
		-test.run 'TestDiff|TestCrash|TestGo|TestACL|TestRedisCLI|TestExpress|TestConnectRedis/v(3|7|10)'

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
fuzz-build: ## build the tests of make fuzz, which does it by itself
	@mkdir -p $(FUZZDIR); : > $(FUZZDIR)/targets; \
	for pkg in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs dirname | sort -u); do \
		bin=$(FUZZDIR)/$$(basename $$pkg).test; \
		go test -c -fuzz . -o $$bin $$pkg || exit 1; \
		$$bin -test.list '^Fuzz' | sed "s|.*|$$pkg $$bin &|" >> $(FUZZDIR)/targets; \
	done

fuzz: fuzz-build ## each fuzz target for FUZZTIME (60s; a quick run: make fuzz FUZZTIME=10s)
	@xargs -P $(FUZZJOBS) -L 1 sh -c 'cd $$0; \
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
	SESSIOND_STEPS=1 SESSIOND_POWER_CUTS=1000 SESSIOND_KILLS=10000 SESSIOND_CRASH_POINTS=1 SESSIOND_DISK_FAILURES=1 \
		go test -v -count=1 -timeout 1h -run 'TestSteps|TestPowerCut|TestKill_AnyMoment|TestCrashPoint|TestBadDisk' ./storage/pebble

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

SYSTEMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
systems: ## type-check for SYSTEMS (six) what they build and test, and compile nothing
	go run ./internal/typecheck $(SYSTEMS)

cross: ## build for SYSTEMS (six), without cgo, into dist
	@set -e; for system in $(SYSTEMS); do os=$${system%/*} arch=$${system#*/}; \
		ext=; if [ $$os = windows ]; then ext=.exe; fi; \
		echo "dist/sessiond-$$os-$$arch$$ext"; \
		CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch go build -trimpath -ldflags "-s -w" -o dist/sessiond-$$os-$$arch$$ext ./cmd/sessiond; \
	done
