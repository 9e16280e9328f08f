# Stator's commands; `make help` lists them. Everything they download comes from package registries into .build.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
BUILD := $(CURDIR)/.build
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GOBUILD := go build -ldflags "-s -w -X github.com/statordb/stator.Version=$(VERSION)"
# Everything is built as the published program is, so that one build cache serves all targets but race.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath
PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
LOCAL := $(BUILD)/dynamodb-local
S3SERVER := $(BUILD)/bin/versitygw
POSTGRES := $(BUILD)/postgres.ok
CHROMIUM := $(BUILD)/chromium.ok

.PHONY: help build test packages size lint unit race tikv abuse clients clients-many commands browser deploy cross bench bench-quick bench-cpu bench-tail bench-growth bench-live bench-transfer bench-dax bench-postgres bench-go bench-go-save tidy conformance differential reliability fuzz fuzz-save generate plots clean

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s $$'\t'

build: bin/stator ## Build bin/stator.

bin/stator: $(shell find . -name '*.go' -not -path './test/*' -not -path './.build/*') go.mod go.sum internal/expr/reserved.txt
	$(GOBUILD) -o $@ ./cmd/stator

# each runs targets one after the other, says which one runs, and prints how long each one took.
each = @times=; for part in $(1); do \
		echo "== make $$part"; start=$$SECONDS; $(MAKE) --no-print-directory $$part; \
		times+=$$(printf '%8s %4d s' $$part $$((SECONDS - start)))$$'\n'; \
	done; printf '\nAll passed:\n%s' "$$times"

test: ## Install what is needed and run all tests.
	$(call each,lint unit race tikv clients commands browser)

packages: ## Check what is published: binaries for every platform, their size, deploy/.
	$(call each,size cross deploy)

lint: ## gofmt, go vet, staticcheck.
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt: $$out"; exit 1; fi
	go vet ./...
	go tool staticcheck ./...
	cd $(TIKV) && go vet ./...

# Tests are not vetted again: lint has done so. The tests of whole servers take longest and often wait, so they begin first, beside the others.
GOTEST := go test -vet=off
unit: $(S3SERVER) $(POSTGRES) ## Unit, conformance and system tests.
	STATOR_TEST_S3=$(S3SERVER) STATOR_TEST_POSTGRES=1 $(GOTEST) -skip '^TestCommandBlocks$$' ./internal/server ./...

# Long simulations of one client at a time, and the bounds of what decodes, have no races to find, and take minutes with the detector.
RACESKIP := TestDay$$|TestPointInTimeRecovery|TestHotKey|TestConformance|TestScheduledActions|TestMemory$$|TestProtocolMemory|TestHostileFiles|TestHostileImports|TestOnDemandAWS|TestInputs
race: export CGO_ENABLED = 1
race: $(S3SERVER) $(POSTGRES) ## The unit and contract tests with the race detector.
	STATOR_TEST_S3=$(S3SERVER) STATOR_TEST_POSTGRES=1 $(GOTEST) -race -timeout 20m -skip '$(RACESKIP)' ./internal/server . ./internal/...

TIKV := engines/tikv
tikv: ## The engine over TiKV, a module of its own (Linux only), over a mock of a cluster.
	cd $(TIKV) && $(GOTEST) ./...

# The S3 server of the tests, in a module of its own.
$(S3SERVER):
	cd /tmp && GOBIN=$(dir $(S3SERVER)) go install github.com/versity/versitygw/cmd/versitygw@v1.8.0

# PostgreSQL's server: the tests start their own instance.
$(POSTGRES):
	mkdir -p $(dir $@)
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql; }
	touch $@

clients: bin/stator $(BUILD)/python/ok ## Real clients against a real server: boto3, AWS CLI, Go, JavaScript, Java.
	BUILD=$(BUILD) test/clients/run.sh

clients-many: bin/stator $(BUILD)/python/ok $(POSTGRES) ## The same over three servers that share a PostgreSQL.
	CLIENTS_SERVERS=3 BUILD=$(BUILD) test/clients/run.sh

# Debian's python3 comes without venv and ensurepip.
$(BUILD)/python/ok: test/clients/boto3/requirements.txt
	rm -rf $(BUILD)/python && mkdir -p $(BUILD)
	python3 -m venv $(BUILD)/python || { apt-get update -qq && apt-get install -y -qq python3-venv && python3 -m venv --clear $(BUILD)/python; }
	$(BUILD)/python/bin/pip install -q --disable-pip-version-check -r $<
	touch $@

commands: $(BUILD)/python/ok $(POSTGRES) ## The command blocks of README.md and docs/, against real servers.
	STATOR_TEST_POSTGRES=1 PATH=$(BUILD)/python/bin:$$PATH $(GOTEST) -count=1 -timeout 20m ./test/docs

browser: bin/stator $(CHROMIUM) ## Web pages against a real server, in Debian's Chromium: strangers' and those with AWS's SDK.
	mkdir -p $(BUILD)/browser && cp test/browser/package.json test/browser/*.js $(BUILD)/browser/
	cd $(BUILD)/browser && npm install --no-audit --no-fund --silent && STATOR_BINARY=$(CURDIR)/bin/stator npm test

$(CHROMIUM):
	mkdir -p $(dir $@)
	command -v chromium >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; }
	touch $@

deploy: $(BUILD)/bin/helm $(BUILD)/bin/compose ## Lint and render what is in deploy/.
	HELM=$(BUILD)/bin/helm COMPOSE=$(BUILD)/bin/compose deploy/check.sh

$(BUILD)/bin/helm:
	cd /tmp && GOBIN=$(dir $@) go install helm.sh/helm/v3/cmd/helm@v3.17.3

# The schema of compose files, as its own library checks it.
$(BUILD)/bin/compose:
	cd /tmp && GOBIN=$(dir $@)compose.d go install github.com/compose-spec/compose-go/v2/cmd@v2.9.0 && mv $(dir $@)compose.d/cmd $@ && rmdir $(dir $@)compose.d

cross: ## Build for every platform.
	@for p in $(PLATFORMS); do echo "build $$p"; GOOS=$${p%/*} GOARCH=$${p#*/} go build -o /dev/null ./cmd/stator; done
	cd $(TIKV) && go build -o /dev/null ./cmd/stator-tikv

# One call of reflect's Method or MethodByName with a computed name adds 10 MB; this finds the caller:
#	go build -o /dev/null -ldflags=-dumpdep ./cmd/stator 2>&1 | grep ReflectMethod
MAXSIZE := 44000000
size: bin/stator ## The size of bin/stator in bytes, which must be at most MAXSIZE.
	@size=$$(stat -c %s bin/stator); echo "bin/stator: $$size bytes of at most $(MAXSIZE)"; [ $$size -le $(MAXSIZE) ]

$(LOCAL)/ok: test/differential/pom.xml
	mvn -q -B -f $< dependency:copy-dependencies -DoutputDirectory=$(LOCAL)/lib
	touch $@

# NUBO is the path of a checkout of nubo-db/dynamodb-conformance (CONTRIBUTING.md).
NUBO ?=
conformance: bin/stator ## Recorded answers: how many are as recorded, by file and source. NUBO=path adds a suite.
	@mkdir -p $(BUILD) && rm -f $(BUILD)/conformance.txt
	@go test -count=1 ./internal/server -run '^TestConformance$$/^Pebble$$' -args -report $(BUILD)/conformance.txt > $(BUILD)/conformance.log && ok=1 || ok=; \
		cat $(BUILD)/conformance.txt; [ -n "$$ok" ] || { cat $(BUILD)/conformance.log; exit 1; }
	@if [ -n "$(NUBO)" ]; then go run ./test/conformance/nubo -stator bin/stator -suite $(NUBO); fi

# The peers of the benchmark, from their package registries. The differential's deviations are of this version of dynoxide, which calls itself 1.5.0.
PEERS := $(BUILD)/peers
DYNOXIDE := $(PEERS)/dynoxide/bin/dynoxide
$(DYNOXIDE):
	cargo install --quiet --locked dynoxide-rs --version 3.2.0 --root $(PEERS)/dynoxide

differential: bin/stator $(LOCAL)/ok $(DYNOXIDE) ## Random requests against Stator, DynamoDB Local and dynoxide, answers compared.
	go run ./test/differential -stator bin/stator -local-classpath '$(LOCAL)/lib/*' -dynoxide $(DYNOXIDE) $(DIFFERENTIALFLAGS)

$(PEERS)/ok: $(DYNOXIDE)
	mkdir -p $(PEERS)
	npm install --silent --no-fund --no-audit --prefix $(PEERS) dynalite@4
	python3 -m venv $(PEERS)/moto && $(PEERS)/moto/bin/pip install -q --disable-pip-version-check 'moto[server,dynamodb]'
	touch $@

bin/bench: $(shell find test/bench test/process -name '*.go') go.mod
	go build -o $@ ./test/bench

bin/daxload: $(shell find test/clients/go -name '*.go') test/clients/go/go.mod
	cd test/clients/go && go build -o $(CURDIR)/$@ ./daxload

BENCH := bin/bench -stator bin/stator -daxload bin/daxload

bench: bin/stator bin/bench bin/daxload $(LOCAL)/ok $(PEERS)/ok $(POSTGRES) ## Speed and footprint against yardsticks and peers (about 40 minutes).
	$(BENCH) -local-classpath '$(LOCAL)/lib/*' -dynalite $(PEERS)/node_modules/.bin/dynalite \
		-moto $(PEERS)/moto/bin/moto_server -dynoxide $(DYNOXIDE) $(BENCHFLAGS)

bench-quick: bin/stator bin/bench ## Stator alone against yardsticks (about 3 minutes).
	$(BENCH) -sections yardsticks -connections 64 -seconds 0.7 $(BENCHFLAGS)

bench-cpu: bin/stator bin/bench $(DYNOXIDE) ## Processor time per request, beside an empty handler and a peer (3 minutes).
	$(BENCH) -sections cpu -dynoxide $(DYNOXIDE) $(BENCHFLAGS)

bench-tail: bin/stator bin/bench $(LOCAL)/ok $(DYNOXIDE) ## Latencies at fixed rates, against peers, and beside disturbances (about an hour).
	$(BENCH) -sections tail,disturb -local-classpath '$(LOCAL)/lib/*' -dynoxide $(DYNOXIDE) $(BENCHFLAGS)

bench-growth: bin/stator bin/bench ## 50 million items against one million, an index filled online, 10,000 tables; 20 GB of disk, 20 minutes.
	$(BENCH) -sections growth -rounds 7 -seconds 4 $(BENCHFLAGS)

bench-live: bin/stator bin/bench ## Latency of streams.
	$(BENCH) -sections live $(BENCHFLAGS)

bench-transfer: bin/stator bin/bench ## Import, export, backup and restore of a million items, against BatchWriteItem.
	$(BENCH) -sections transfer -dir $(BUILD)

bench-dax: bin/stator bin/bench bin/daxload ## GetItem by AWS's clients for Go, over DAX and over HTTP.
	$(BENCH) -sections dax $(BENCHFLAGS)

bench-postgres: bin/stator bin/bench $(POSTGRES) ## Stator over PostgreSQL, against bare pgx doing the same; tails of three servers (10 minutes).
	$(BENCH) -sections postgres,postgres-tail -connections 16,64 $(BENCHFLAGS)

# The numbers of the last release, with which bench-go compares; `make bench-go-save` before a release.
HOTPATHS := test/bench/hotpaths.txt
bench-go: ## Time and allocations of the hot paths, from HTTP body to HTTP body, against the last release's.
	@mkdir -p $(BUILD)
	go test -run '^$$' -bench . -benchmem -count 6 ./internal/server | tee $(BUILD)/hotpaths.txt
	go tool benchstat $(HOTPATHS) $(BUILD)/hotpaths.txt

bench-go-save:
	go test -run '^$$' -bench . -benchmem -count 6 ./internal/server > $(HOTPATHS)

FUZZTIME ?= 60s
FUZZ := FuzzSelectors=./internal/audit FuzzEvents=./internal/audit FuzzRequest=./internal/server FuzzHeader=./internal/auth FuzzDecide=./internal/access/policy FuzzReadItem=./internal/attribute FuzzWellFormed=./internal/attribute \
	FuzzNumber=./internal/attribute FuzzValueOrder=./internal/keyspace FuzzExpressions=./internal/expr FuzzParse=./internal/partiql FuzzReader=./internal/wirejson \
	FuzzMath=./internal/cloudwatch FuzzCBOR=./internal/protocol FuzzQuery=./internal/protocol FuzzToken=./internal/iam FuzzForm=./internal/iam FuzzFiles=./internal/iam/declared FuzzDecode=./internal/metric FuzzRead=./internal/itemfile FuzzIonGuard=./internal/itemfile FuzzRows=./internal/itemfile FuzzSchedule=./internal/autoscaling FuzzMemory=./internal/dax/wire \
	FuzzDAX=./internal/server FuzzValue=./internal/dax/wire FuzzKey=./internal/dax/wire FuzzCompoundKey=./internal/dax/wire FuzzItem=./internal/dax/wire \
	FuzzExpressions=./internal/dax/wire FuzzSkimmer=./internal/dax/wire FuzzRequests=./test/abuse/mutate

reliability: ## The long forms of the crash, fault, history and soak tests (about half an hour).
	go test ./test/system -run 'TestKill$$' -v -timeout 60m -args -kills 300
	go test ./internal/server -run 'TestCrash$$' -v -timeout 60m -args -crashes 400
	go test ./internal/server -run 'TestDiskFaults|TestReadFaults|TestCorruptedBlock|TestTornLog' -timeout 60m -count 20
	go test ./internal/server -run 'TestStreamUnderLoad|TestBuildAfterCrash' -timeout 60m -count 20
	go test ./internal/kv/pebblekv -run 'TestNewLogFails' -timeout 60m -count 20
	go test ./internal/server -run 'TestLinearizable' -v -timeout 60m -args -histories 200
	go test ./internal/server -run 'TestModel' -timeout 60m -args -model-seeds 40
	STATOR_TEST_POSTGRES=1 go test ./test/system -run 'TestServersKilled' -v -timeout 60m -args -kills 100
	go test ./test/system -run 'TestSoak|TestIdleConnections' -v -timeout 60m -args -soak 5m -idle 10000

abuse: bin/stator ## Each attack of test/abuse beside a light client, and what became of the server (about half an hour).
	go run ./test/abuse/cmd -stator bin/stator $(ABUSEFLAGS)

fuzz: ## Each fuzz target for FUZZTIME (a minute).
	@for f in $(FUZZ); do echo "== $$f"; go test -run '^$$' -fuzz "^$${f%%=*}\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s $${f#*=}; done

fuzz-save: ## Keep the small inputs that fuzzing found in testdata, where `make test` runs them.
	@for f in $(FUZZ); do \
		found=$$(go env GOCACHE)/fuzz/$$(go list $${f#*=})/$${f%%=*}; to=$${f#*=}/testdata/fuzz/$${f%%=*}; \
		if [ -d $$found ]; then mkdir -p $$to && find $$found -type f -size -2 | sort | head -150 | xargs -r cp -t $$to; fi; \
	done

# engines/tikv requires the root module, which has no published version yet: tidy it with a replace directive, and remove that again.
tidy: ## go mod tidy for both modules.
	go mod tidy
	@mkdir -p $(BUILD) && cp $(TIKV)/go.mod $(BUILD)/tikv.mod && cp $(TIKV)/go.sum $(BUILD)/tikv.sum
	@echo 'replace github.com/statordb/stator => $(CURDIR)' >> $(BUILD)/tikv.mod
	cd $(TIKV) && GOWORK=off go mod tidy -modfile=$(BUILD)/tikv.mod
	@grep -v '^replace' $(BUILD)/tikv.mod | cat -s > $(TIKV)/go.mod && cp $(BUILD)/tikv.sum $(TIKV)/go.sum

generate: $(BUILD)/python/ok ## Write internal/api from botocore's model, docs/flags.md, and docs/compatibility.md's operation list.
	$(BUILD)/python/bin/python -c "import botocore,gzip,pathlib; [pathlib.Path('$(BUILD)/'+s.replace('-','')+'.json').write_bytes(gzip.decompress((pathlib.Path(botocore.__file__).parent/('data/'+s+'/'+v+'/service-2.json.gz')).read_bytes())) for s,v in (('dynamodb','2012-08-10'),('dynamodbstreams','2012-08-10'),('cloudwatch','2010-08-01'),('application-autoscaling','2016-02-06'),('dax','2017-04-19'),('iam','2010-05-08'),('sts','2011-06-15'))]"
	go run ./tools/gen -out internal/api -rules internal/api/validation.txt $(BUILD)/dynamodb.json $(BUILD)/dynamodbstreams.json
	go run ./tools/gen -out internal/cloudwatch/api -schema -only DeleteAlarms,DescribeAlarmHistory,DescribeAlarms,DescribeAlarmsForMetric,DescribeInsightRules,DisableAlarmActions,EnableAlarmActions,GetInsightRuleReport,GetMetricData,GetMetricStatistics,ListMetrics,ListTagsForResource,PutMetricAlarm,PutMetricData,SetAlarmState,TagResource,UntagResource $(BUILD)/cloudwatch.json
	go run ./tools/gen -out internal/autoscaling/api $(BUILD)/applicationautoscaling.json
	go run ./tools/gen -out internal/dax/api $(BUILD)/dax.json
	go run ./tools/gen -out internal/iam/api -schema -only AddRoleToInstanceProfile,AddUserToGroup,AttachGroupPolicy,AttachRolePolicy,AttachUserPolicy,CreateAccessKey,CreateGroup,CreateInstanceProfile,CreatePolicy,CreatePolicyVersion,CreateRole,CreateUser,DeleteAccessKey,DeleteGroup,DeleteGroupPolicy,DeleteInstanceProfile,DeletePolicy,DeletePolicyVersion,DeleteRole,DeleteRolePermissionsBoundary,DeleteRolePolicy,DeleteUser,DeleteUserPermissionsBoundary,DeleteUserPolicy,DetachGroupPolicy,DetachRolePolicy,DetachUserPolicy,GetAccessKeyLastUsed,GetAccountAuthorizationDetails,GetAccountSummary,GetGroup,GetGroupPolicy,GetInstanceProfile,GetPolicy,GetPolicyVersion,GetRole,GetRolePolicy,GetUser,GetUserPolicy,ListAccessKeys,ListAccountAliases,ListAttachedGroupPolicies,ListAttachedRolePolicies,ListAttachedUserPolicies,ListEntitiesForPolicy,ListGroupPolicies,ListGroups,ListGroupsForUser,ListInstanceProfileTags,ListInstanceProfiles,ListInstanceProfilesForRole,ListPolicies,ListPolicyTags,ListPolicyVersions,ListRolePolicies,ListRoleTags,ListRoles,ListUserPolicies,ListUserTags,ListUsers,PutGroupPolicy,PutRolePermissionsBoundary,PutRolePolicy,PutUserPermissionsBoundary,PutUserPolicy,RemoveRoleFromInstanceProfile,RemoveUserFromGroup,SetDefaultPolicyVersion,SimulateCustomPolicy,SimulatePrincipalPolicy,TagInstanceProfile,TagPolicy,TagRole,TagUser,UntagInstanceProfile,UntagPolicy,UntagRole,UntagUser,UpdateAccessKey,UpdateAssumeRolePolicy,UpdateGroup,UpdateRole,UpdateRoleDescription,UpdateUser $(BUILD)/iam.json
	go run ./tools/gen -out internal/iam/stsapi -schema -only AssumeRole,AssumeRoleWithWebIdentity,GetAccessKeyInfo,GetCallerIdentity,GetFederationToken,GetSessionToken $(BUILD)/sts.json
	go run ./tools/compatibility -out docs/compatibility.md
	go test ./internal/cli -run TestFlagsPage -args -update

plots: bin/stator $(BUILD)/python/ok ## Make the plots of docs/capacity.md.
	$(BUILD)/python/bin/pip install -q --disable-pip-version-check matplotlib==3.10.7
	$(BUILD)/python/bin/python docs/capacity/plots.py

clean: ## Remove what was built.
	rm -rf bin .build
