# Everything a developer does here is a target; `make` lists them.
.DEFAULT_GOAL := help
TOOLBIN := $(CURDIR)/.tools
GOLANGCI_VERSION := v2.15.0
GOLANGCI := $(TOOLBIN)/golangci-lint-$(GOLANGCI_VERSION)
DIRS = $(shell go list -m -f '{{.Dir}}')

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: build ## Start Holdfast with a sample project; Ctrl-C stops both
	@./scripts/deps.sh 17
	@go build -o bin/ ./testenv/sample
	@exec ./bin/sample ./bin/holdfastd

.PHONY: test
test: deps ## Test everything, on real servers
	go test -timeout 50m work

.PHONY: build
build: ## Build the commands into bin/
	go build -o bin/ ./cmd/...

.PHONY: lint
lint: $(GOLANGCI) ## Look for mistakes and for breaches of the rules of the house
	$(GOLANGCI) run $(addsuffix /...,$(DIRS))

$(GOLANGCI):
	GOBIN=$(TOOLBIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(TOOLBIN)/golangci-lint $@

.PHONY: race
race: deps ## Test what runs side by side with the race detector
	go test -race -timeout 30m ./events/... ./events/bus/... ./archive/... ./destination/... ./services/backup/... ./services/restore/... ./services/catalog/... ./services/gateway/... ./internal/...
	go test -race -timeout 30m ./project/... -run 'TestDatabaseComesBack|TestRealSupabaseComesBack|TestWholeProject|TestARestoreIsUndone|TestStatistics|TestBackupsBeside|TestTables|TestPasswords' # the rest of it waits for servers

.PHONY: e2e
e2e: deps ## Test the real daemon through REST
	go test -count=1 -timeout 40m ./e2e

.PHONY: soak
soak: deps ## Compare what a daemon uses before and after 2,000 backups
	go test ./e2e -run TestSoak -count=1 -timeout 20m -v -soak 2000

CHAOS ?= 10m
.PHONY: chaos
chaos: deps ## Do everything bad to all processes for ten minutes (CHAOS=1m; a seed that failed: SEED=…)
	go test ./e2e -run TestChaos -count=1 -timeout 30m -v -chaos $(CHAOS) -seed $(or $(SEED),0)

.PHONY: bench
bench: deps ## Measure against rivals
	./scripts/bench.sh

.PHONY: fmt
fmt: $(GOLANGCI) ## Format the code
	$(GOLANGCI) fmt $(addsuffix /...,$(DIRS))

.PHONY: tidy
tidy: ## Put every go.mod in order
	./scripts/tidy.sh

.PHONY: standalone
standalone: ## Prove that every module builds without the workspace
	@for m in $(DIRS); do (cd $$m && GOWORK=off go build ./...) || exit 1; done

.PHONY: generate
generate: ## Write the golden files anew; look at the difference before you commit it
	go test ./events ./archive -run Golden -update

.PHONY: deps
deps: ## Install what the tests need and is not here yet
	@./scripts/deps.sh

.PHONY: ci
ci: build tidied standalone lint test race ## What the machine checks
	go vet work
	$(MAKE) chaos CHAOS=1m

# On a copy, so that a check never changes what is checked.
.PHONY: tidied
tidied: ## Prove that every go.mod is in order
	@copy=$$(mktemp -d) && git ls-files -z | xargs -0 cp --parents -t $$copy && (cd $$copy && ./scripts/tidy.sh) && \
	for m in $$(git ls-files '*go.mod' '*go.sum' go.work); do cmp $$m $$copy/$$m || { rm -rf $$copy; exit 1; }; done; rm -rf $$copy

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin .tools sample
