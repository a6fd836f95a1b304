# `make demo` and `make test` set up all they need below .venv; nothing else on the machine is changed.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# The lock pins exactly what was tested; pyproject.toml has the lower bounds.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock

.DEFAULT_GOAL := help
.PHONY: help demo test lint client test-client test-compose test-mxnet test-viewer test-boinc test-docker test-oracle test-torch lock clean
help:
	@echo "make demo    real and synthetic wells through the whole chain; pictures and scores in demo-output/"
	@echo "make test    linters, type checker and every test"
	@echo "make client  the volunteer's program as one file in dist/, measured and self-tested (build/README.md)"

demo: $(VENV)/.demo-ready
	$(BIN)/crystal-search demo $(DEMO)

test: lint
	$(BIN)/python -m pytest -n auto --dist loadscope $(PYTEST)

lint: $(VENV)/.test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy build/client.py build/app_version.py
	$(BIN)/lint-imports --no-cache

client: dist/crystal-search-client

# build/client.py brings an environment of its own, so that nothing but what volunteers need gets in.
dist/crystal-search-client: build/client.py build/nuitka_plugin.py $(wildcard build/*.c client_app/*.py client_app/*.jpg crystal_search/*.py models/*/*) pyproject.toml requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing; on Debian or Ubuntu: apt-get install python3.11 python3.11-venv"; exit 1; }
	$(PYTHON) build/client.py

test-client: dist/crystal-search-client $(VENV)/.test-ready
	$(BIN)/python -m pytest -m executable tests/test_executable.py tests/test_boinc_client.py $(PYTEST)

# docker-compose.yml for each profile, and the proxy: needs docker compose and caddy, but no engine.
test-compose: $(VENV)/.test-ready
	$(BIN)/python -m pytest -m compose tests/test_compose.py $(PYTEST)

# Against a stock BOINC server: CRYSTAL_SEARCH_BOINC_PROJECT names its project, CRYSTAL_SEARCH_BOINC_WRAPPER BOINC's wrapper
# (docs/how-to/boinc-server.md); takes minutes.
test-boinc: dist/crystal-search-client $(VENV)/.test-ready
	$(BIN)/python -m pytest -m boinc_server tests/test_boinc_real.py $(PYTEST)

# MXNet needs numpy below 2, and so an environment of its own; the tests themselves run in the usual one.
test-mxnet: .venv-mxnet/.ready $(VENV)/.test-ready
	MXNET_PYTHON=.venv-mxnet/bin/python $(BIN)/python -m pytest -m mxnet tests/test_mxnet.py $(PYTEST)

.venv-mxnet/.ready: requirements-mxnet.lock
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing; on Debian or Ubuntu: apt-get install python3.11 python3.11-venv"; exit 1; }
	$(PYTHON) -m venv .venv-mxnet
	.venv-mxnet/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements-mxnet.lock
	@touch $@

# Keras on torch, which requirements.lock leaves out: TORCH_PYTHON names a Python with the training extra and torch; takes minutes.
test-torch: $(VENV)/.test-ready
	@test -n "$$TORCH_PYTHON" || { echo "TORCH_PYTHON is not set: name a Python with the training extra and torch"; exit 1; }
	$(BIN)/python -m pytest -m torch tests/test_torch_backend.py $(PYTEST)

# The viewer in headless Chromium (apt-get install chromium).
test-viewer: $(VENV)/.test-ready
	$(BIN)/python -m pytest -m browser -n 2 --dist loadfile tests/test_viewer_browser.py tests/test_viewer_fits.py $(PYTEST)

# The image is built and the whole server side comes up: needs an engine, takes minutes.
test-docker: $(VENV)/.test-ready
	$(BIN)/python -m pytest -m docker tests/test_compose_up.py $(PYTEST)

# The same tests that H2 plays Oracle for, and more, in schemas of their own in a live Oracle: docs/how-to/oracle.md.
test-oracle: $(VENV)/.test-ready
	$(BIN)/python -m pytest -m oracle tests/test_oracle_statements.py tests/test_oracle_live.py $(PYTEST)

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing; on Debian or Ubuntu: apt-get install python3.11 python3.11-venv"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) can not make environments; on Debian or Ubuntu: apt-get install python3.11-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo-ready: pyproject.toml requirements.lock | $(BIN)/python
	$(INSTALL) -e '.[viewer]'
	@touch $@

$(VENV)/.test-ready: pyproject.toml requirements.lock | $(BIN)/python
	$(INSTALL) -e '.[training,viewer,postgres,oracle,dev]'
	@touch $@ $(VENV)/.demo-ready

# Package indexes are left out of the file on purpose: a site has its own.
lock: $(VENV)/.test-ready
	$(BIN)/pip-compile --quiet --strip-extras --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-annotate \
	  --extra training --extra viewer --extra oracle --extra postgres --extra build --extra dev --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) .venv-client .venv-mxnet demo-output dist
