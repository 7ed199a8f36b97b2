# make setup | demo | test | test-slow | test-containers | test-kubernetes | test-long | lint | audit | check | bench | soak MINUTES=30
#
# Everything lands in .venv. `setup` installs substitute and nothing else; what tests and lint need comes with them,
# Debian's packages too where apt-get is there.

PYTHON ?= python3
BIN := .venv/bin
DEBIAN := git git-lfs zip zstd haproxy nftables nginx nodejs wrk systemd dbus libpam-systemd iproute2 cron openssh-server curl openssl procps php-fpm libfcgi-bin puma

CONTAINERS := docker.io podman runc tini docker-registry apache2-utils
# Go is not among them: Debian's is too old, and tools/kubernetes/build says which one it needs.
KUBERNETES := keepalived containerd runc containernetworking-plugins skopeo docker-registry apache2-utils tzdata
ENGINES := $(CONTAINERS) $(KUBERNETES) npm golang-go postgresql debootstrap ruby-rails ruby-pg bundler capistrano

.PHONY: setup demo test test-slow test-containers test-kubernetes test-long lint audit check bench soak docs clean

setup: .venv/.done

.venv/.done: pyproject.toml
	$(PYTHON) -m venv .venv || (tools/packages python3-venv && $(PYTHON) -m venv .venv)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/.dev: .venv/.done
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/pip install --quiet --disable-pip-version-check --group dev
	touch $@

demo: setup
	@command -v git >/dev/null || tools/packages git
	@$(BIN)/substitute demo

# Each waits for programs half of the time and more, so two cores have work for four. Tests of a file stay together: they
# share what they have started. Files are taken in the order of tests/conftest.py, and not by their number of tests, which
# tells nothing of their time.
WORKERS ?= 4
SPREAD := --dist loadfile --no-loadscope-reorder

# Hundreds of short programs are started: without bytecode each would compile everything anew.
test: export PYTHONDONTWRITEBYTECODE =
test: .venv/.dev
	@tools/packages $(DEBIAN)
	$(BIN)/pytest --numprocesses $(WORKERS) $(SPREAD) --durations 25

# What `make test` tries once is tried here with the other runtimes, balancers, signals and apps; and what stands beside
# a deployment: adoption, moves from one runtime or balancer to another, versions that are kept, drills, many hosts.
test-slow: export PYTHONDONTWRITEBYTECODE =
test-slow: .venv/.dev
	@tools/packages $(DEBIAN)
	$(BIN)/pytest --numprocesses $(WORKERS) $(SPREAD) --durations 15 -m "slow and not long and not containers and not kubernetes"
	EVERY=10 $(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal tests/unit/test_model.py tests/unit/test_edges.py

# Every test, the long ones too: engines and packages that have to be installed, and whole matrices of the model.
test-long: export PYTHONDONTWRITEBYTECODE =
test-long: export SEQUENCES = 7000
test-long: export EVERY = 1
test-long: export EXAMPLES = 300
test-long: export KILLS = 40
test-long: export TURNS = 12
test-long: export PAUSE = 0.002
test-long: .venv/.dev
	@tools/packages $(DEBIAN) $(ENGINES)
	-@tools/kubernetes/build
	$(BIN)/pytest --numprocesses $(WORKERS) $(SPREAD) --durations 25 -m ""

# Docker and Podman, the real ones: 400 MB to install, so a newcomer's `make test` does without. The folders are named
# because to collect what is in tests/unit costs each worker seconds.
test-containers: export PYTHONDONTWRITEBYTECODE =
test-containers: .venv/.dev
	@tools/packages $(DEBIAN) $(CONTAINERS)
	$(BIN)/pytest --numprocesses 2 $(SPREAD) --durations 15 -m "containers and not long" tests/contracts tests/e2e

# Kubernetes, the real one, on machines of the tests: its first run builds it.
test-kubernetes: export PYTHONDONTWRITEBYTECODE =
test-kubernetes: .venv/.dev
	@tools/packages $(DEBIAN) $(KUBERNETES)
	@tools/kubernetes/build
	$(BIN)/pytest --numprocesses 1 $(SPREAD) --durations 15 -m "kubernetes and not long"

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml src

audit: .venv/.dev
	$(BIN)/pip-audit --skip-editable

check: lint audit test

bench: .venv/.dev
	@tools/packages $(DEBIAN) $(CONTAINERS) npm
	$(BIN)/python -m bench.speed
	$(BIN)/python -m bench.runtimes
	$(BIN)/python -m bench.balancers
	$(BIN)/python -m bench.front_door
	$(BIN)/python -m bench.builds
	$(BIN)/python -m bench.swaps
	$(BIN)/python -m bench.standby
	$(BIN)/python -m bench.recovery
	$(BIN)/python -m bench.scale
	$(BIN)/python -m bench.instances
	$(BIN)/python -m bench.judge
	$(BIN)/python -m bench.hosts
	$(BIN)/python -m bench.comparison
	$(BIN)/python -m bench.containers
	if tools/kubernetes/build; then tools/packages $(KUBERNETES) && $(BIN)/python -m bench.kubernetes; fi

MINUTES ?= 30
soak: .venv/.dev
	@tools/packages $(DEBIAN)
	$(BIN)/python -m bench.soak $(MINUTES)

docs: setup
	$(BIN)/python -m substitute.config > docs/configuration.md
	$(BIN)/python -m substitute.cli.reference > docs/commands.md
	$(BIN)/python -m substitute.cli.glossary > docs/glossary.md

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
