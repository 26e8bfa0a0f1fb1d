# Two commands to know: `make run` and `make test`. Each sets up all that it needs in .venv; neither needs root.
# PYTHON=python3.12 chooses the interpreter, WORKERS=4 how many tests run side by side.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
PACKETS ?= 200000
FILES ?= 300
SEED ?= 1
CONFIG ?= config/quickstart.yaml

PDNS := pdns-server pdns-backend-pipe pdns-backend-remote pdns-backend-bind pdns-backend-sqlite3 sqlite3

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
BUILT_FROM := $(wildcard pyproject.toml setup.py src/geodns/native/*.pyx src/geodns/native/*.pxd)

# The native engine once more, with AddressSanitizer and UndefinedBehaviorSanitizer, whose runtimes a plain Python must preload. Beside
# it stand links to the Python sources, so that they are always today's.
NATIVE := $(wildcard setup.py src/geodns/native/*.pyx src/geodns/native/*.pxd src/geodns/native/__init__.py)
SANITIZED := build/sanitized
RUNTIMES = $(shell $(CC) -print-file-name=libasan.so 2> /dev/null) $(shell $(CC) -print-file-name=libubsan.so 2> /dev/null)
SANITIZING = env LD_PRELOAD="$(RUNTIMES)" PYTHONPATH=$(CURDIR)/$(SANITIZED) ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	$(BIN)/python

# Many tests start daemons, which start children: without their bytecode at hand each would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE
PYTEST = $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile
# What the second run of the tests leaves out, because it cannot come out otherwise: `config`, `health` and `wire` import no engine
# (tests/test_layers.py holds that), PowerDNS is answered by the reference under either, `native`, `differential` and `test_wheel.py`
# name the engine that they mean, and the others look at files, not at a daemon.
ENGINELESS := config health wire powerdns native differential builtin tools test_wheel.py test_deploy.py test_layers.py \
	test_repository.py test_pipe.py test_pipe_link.py

.PHONY: help run test lint format types tests system-tools fuzz fuzz-native sanitize bench clean

help:
	@echo 'make run      install, start $(CONFIG) on 127.0.0.1:5300, print what to try'
	@echo 'make test     install, then every check: lint, types, sanitizers, all tests with either engine'
	@echo 'make format   let ruff rewrite what it can'
	@echo 'make fuzz     PACKETS=$(PACKETS) SEED=$(SEED): random packets against the answer function, lines against the protocols of PowerDNS'
	@echo 'make fuzz-native, make sanitize: the same against both engines; sanitize builds the native one to tell of its faults'
	@echo 'make bench    time the small functions; bench/RESULTS.md says how the whole server is measured'
	@echo 'make clean    remove .venv and what tools left behind'

# A stamp each, so that a second run installs nothing: touched last, so that an interrupted one starts again.
$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "geodns needs Python 3.11 or later")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BUILT_FROM) | $(VENV)/bin/python
	@echo 'installing geodns into $(VENV)'
	@$(PIP) install -e .
	@touch $@

$(VENV)/.installed-dev: $(BUILT_FROM) | $(VENV)/bin/python
	@echo 'installing geodns and the tools of its tests into $(VENV)'
	@$(PIP) install -e '.[dev]'
	@touch $@ $(VENV)/.installed

run: $(VENV)/.installed
	@echo 'Try, from another terminal (a client in London, one in Toronto, one in Tokyo):'
	@echo '  dig @127.0.0.1 -p 5300 www.example.com +short +subnet=81.2.69.0/24'
	@echo '  dig @127.0.0.1 -p 5300 www.example.com +short +subnet=99.224.8.0/24'
	@echo '  dig @127.0.0.1 -p 5300 www.example.com +short +subnet=133.11.0.0/24'
	@echo '  $(BIN)/geodns explain www.example.com -c $(CONFIG) --client 81.2.69.0/24'
	@echo 'Ctrl-C ends it.'
	@exec $(BIN)/geodns serve -c $(CONFIG)

test: lint types sanitize tests

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

tests: $(VENV)/.installed-dev system-tools
	$(PYTEST)
	@echo 'All of it once more by the reference (GEODNS_PURE=1), but for what knows no engine: $(ENGINELESS)'
	GEODNS_PURE=1 $(PYTEST) $(foreach folder,$(ENGINELESS),--ignore=tests/$(folder))

# `dig` makes the README's test a test of dig itself; without it the same questions are asked by a library. `promtool` proves the
# alert rules; it is taken out of its package, since installing that would start a Prometheus. PowerDNS, which the tests of its
# backends start by themselves, is installed whole; a service manager is kept from starting it too, on port 53.
system-tools:
	@if ! command -v dig > /dev/null && command -v apt-get > /dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get install -y -q bind9-dnsutils > /dev/null 2>&1 || echo 'no dig, and apt-get cannot install it: going on without'; \
	fi
	@if ! command -v promtool > /dev/null && [ ! -x $(BIN)/promtool ] && command -v apt-get > /dev/null && [ "$$(id -u)" = 0 ]; then \
		folder=$$(mktemp -d); \
		(cd "$$folder" && apt-get download -q prometheus && dpkg -x prometheus_*.deb . ) > /dev/null 2>&1 \
			&& install "$$folder/usr/bin/promtool" $(BIN)/promtool || echo 'no promtool, and apt-get cannot fetch it: going on without'; \
		rm -rf "$$folder"; \
	fi
	@if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && ! dpkg -s $(PDNS) > /dev/null 2>&1; then \
		fresh=; [ -d /run/systemd/system ] && ! command -v pdns_server > /dev/null && fresh=yes; \
		[ -z "$$fresh" ] || systemctl -q --runtime mask pdns.service; \
		get() { DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $(PDNS) > /dev/null 2>&1; }; \
		get || { apt-get update -q > /dev/null 2>&1 && get; } || echo 'no PowerDNS, and apt-get cannot install it: going on without'; \
		[ -z "$$fresh" ] || { systemctl -q --runtime unmask pdns.service; systemctl -q disable pdns.service; } || true; \
	fi

fuzz: $(VENV)/.installed-dev
	$(BIN)/python fuzz/fuzz_answer.py --packets $(PACKETS) --seed $(SEED)
	$(BIN)/python fuzz/fuzz_backend.py --lines $(PACKETS) --seed $(SEED)

# Both engines, packet by packet and database by database. The largest runs are recorded in bench/RESULTS.md.
fuzz-native: $(VENV)/.installed-dev
	$(BIN)/python fuzz/fuzz_native.py --packets $(PACKETS) --seed $(SEED)
	$(BIN)/python fuzz/fuzz_mmdb.py --files $(FILES) --seed $(SEED)

$(SANITIZED)/.built: $(NATIVE) | $(VENV)/.installed-dev
	@echo 'building the native engine with sanitizers into $(SANITIZED)'
	@GEODNS_SANITIZE=1 $(BIN)/python setup.py -q build_ext --parallel 2 --build-temp build/sanitized-work --build-lib $(SANITIZED) \
		> build/sanitized.log 2>&1 || { cat build/sanitized.log; exit 1; }
	@touch $@

# The same under sanitizers, and whatever else reads what a stranger or a file may hold.
sanitize: $(VENV)/.installed-dev
	@if [ "$(words $(filter /%,$(RUNTIMES)))" != 2 ]; then echo 'no compiler or no sanitizers: going on WITHOUT THEM'; else \
		$(MAKE) --no-print-directory $(SANITIZED)/.built \
		&& find $(SANITIZED)/geodns -type l -delete \
		&& ln -s $(filter-out %/native,$(wildcard $(CURDIR)/src/geodns/*)) $(SANITIZED)/geodns/ \
		&& ln -s $(wildcard $(CURDIR)/src/geodns/native/*.p*) $(SANITIZED)/geodns/native/ \
		&& $(SANITIZING) fuzz/fuzz_native.py --sanitized --packets $(PACKETS) --seed $(SEED) \
		&& PYTHONMALLOC=malloc $(SANITIZING) fuzz/fuzz_mmdb.py --files $(FILES) --seed $(SEED) \
		&& $(SANITIZING) -m pytest -q -p no:cacheprovider -n $(WORKERS) --dist loadfile tests/native tests/differential; \
	fi

bench: $(VENV)/.installed-dev
	@for script in bench/micro/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis src/geodns.egg-info
	find src tests tools bench fuzz -name __pycache__ -type d -prune -exec rm -rf {} +
