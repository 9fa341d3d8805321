# Needs GNU make 3.81 or newer (macOS ships that one), a POSIX shell, and Python 3.11 or newer.
# Everything is installed into .venv, by hash, from requirements/*.txt.

# The interpreter that .venv is made with; empty: the first good one on the PATH.
PYTHON ?=
# What `make run`, `make test`, `make lock` and the like hand on to their command.
ARGS =
# What `make image` makes: slim, tunnel.
TARGET = slim

VENV := .venv
PY := $(VENV)/bin/python

.DEFAULT_GOAL := help
.NOTPARALLEL:
.SUFFIXES:
.PHONY: help run test check fix coverage matrix faults golden charts fuzz chaos tunnel lock tools image image-test clean venv install-run install-test install-lock

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s%s\n", $$1, $$2 }' Makefile

run: install-run ## start the sidecar; ARGS='--config FILE' and the like are handed on
	@exec $(PY) -m sidecar run --echo $(ARGS)

test: install-test ## run all tests; ARGS='-k reload' and the like go to pytest
	@exec $(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile \
	    --no-loadscope-reorder $(ARGS)

check: install-test ## format check, lint, types, import contracts
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo

fix: install-test ## format, and mend what the linter can mend by itself
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

coverage: install-test ## run all tests and show the lines and branches that none of them reached
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest $(ARGS)
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

matrix: install-test ## run every client on every backend, and write the table of docs/dialects.md
	@exec env WRITE_MATRIX=1 $(PY) -m pytest tests/e2e/matrix $(ARGS)

faults: install-test ## run the table of faults for every client, and write the table of docs/faults.md
	@exec env WRITE_FAULTS=1 $(PY) -m pytest tests/e2e/test_fault_moments.py tests/e2e/test_faults.py \
	    tests/e2e/test_faults_page.py $(ARGS)

golden: install-test ## write anew what is expected of the traffic in tests/golden, to be read in the diff
	@exec $(PY) -m tests.golden.write

charts: install-test ## write the tables of values in the charts' READMEs, and the alerts of kustomize's component
	@exec $(PY) -m tests.kubernetes.readme
	@exec $(PY) -m tests.kubernetes.rules

fuzz: install-test ## damaged traffic through every dialect for ten minutes (ARGS=60: for one), then by hypothesis
	$(PY) -m tests.fuzz.run $(ARGS)
	$(PY) -m pytest tests/fuzz/test_damage.py --hypothesis-profile=fuzz -o timeout=0

chaos: install-test ## 200 clients before backends that flap, stall, cut and recover (ARGS='--seconds 60 --seed 2')
	@exec $(PY) -m tests.chaos.run $(ARGS)

tunnel: install-test ## 200 requests a second and 50 streams through a tunnel that is restarted and killed, then 1,000 restarts
	@exec $(PY) -m tests.tunnel_load.run $(ARGS)

# One resolution for every Python and machine; the test lock takes the versions of the run lock.
COMPILE = $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

lock: install-lock ## write requirements/*.txt anew; ARGS=--upgrade takes the newest versions
	$(COMPILE) $(ARGS) pyproject.toml --output-file requirements/run.txt
	$(COMPILE) $(ARGS) pyproject.toml --group test --constraints requirements/run.txt \
	    --output-file requirements/test.txt
	$(COMPILE) $(ARGS) --group lock --output-file requirements/lock.txt

# Helm and kustomize, which the tests of charts and manifests need; Go 1.26 or newer builds these.
HELM := v3.22.0
KUSTOMIZE := v5.7.1
# What a Helm from a release believes of the cluster when nobody tells it: that of its own libraries.
CLUSTER := -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37 \
	-X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=37
GO_INSTALL = GOBIN="$$(pwd -P)/.tools/bin" CGO_ENABLED=0 go install -trimpath

tools: .tools/helm-$(HELM) .tools/kustomize-$(KUSTOMIZE) ## build Helm and kustomize into .tools/bin, for the tests

.tools/helm-$(HELM):
	$(GO_INSTALL) -ldflags '-s -w $(CLUSTER)' helm.sh/helm/v3/cmd/helm@$(HELM)
	@rm -f .tools/helm-* && touch $@

.tools/kustomize-$(KUSTOMIZE):
	$(GO_INSTALL) -ldflags '-s -w' sigs.k8s.io/kustomize/kustomize/v5@$(KUSTOMIZE)
	@rm -f .tools/kustomize-* && touch $@

image: ## build the image llm-sidecar:slim; TARGET=tunnel has cloudflared in it; ARGS='--build-arg BASE=…'
	@exec deploy/image/build.sh $(TARGET) llm-sidecar:$(TARGET) $(ARGS)

image-test: install-test ## build the image on a Debian made here, and run it; needs root, buildah and mmdebstrap
	@exec env IMAGE_TEST=1 $(PY) -m pytest tests/kubernetes/test_image.py $(ARGS)

clean: ## remove .venv, caches and build results
	rm -rf $(VENV) .tools build dist *.egg-info .coverage .coverage.* htmlcov
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find sidecar tunnel tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Installs a lock unless the copy kept in .venv says that exactly this one is installed already.
# A run that was cut short leaves `unfinished` behind, and the next one begins with a new .venv.
install-run install-test install-lock: install-%: venv
	@cmp -s requirements/$*.txt $(VENV)/$*.txt && exit 0; \
	echo "Installing the packages of requirements/$*.txt into $(VENV) ..."; \
	touch $(VENV)/unfinished && \
	$(PY) -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements/$*.txt && \
	cp requirements/$*.txt $(VENV)/$*.txt && rm $(VENV)/unfinished

# `made` holds the folder and the PYTHON that .venv was made with: its scripts break when it is moved.
venv:
	@if [ ! -e $(VENV)/unfinished ] && $(PY) -c 'import pip' 2>/dev/null && \
	    { read -r folder && read -r python; } 2>/dev/null < $(VENV)/made && \
	    [ "$$folder" = "$$(pwd -P)" ] && case '$(PYTHON)' in ''|"$$python") ;; *) false;; esac; then exit 0; fi; \
	good=; lacking=; \
	if [ -n '$(PYTHON)' ]; then set -- '$(PYTHON)'; \
	else set -- python3.13 python3.14 python3.12 python3.11 python3; fi; \
	for python in "$$@"; do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	    if "$$python" -c 'import ensurepip, venv; ensurepip.version()' 2>/dev/null; then good=$$python; break; fi; \
	    lacking=$${lacking:-$$python}; \
	done; \
	if [ -z "$$good$$lacking" ]; then \
	    echo "Python 3.11 or newer is needed and was not found (tried: $$*); install it," \
	        "or name it: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; fi; \
	if [ -z "$$good" ]; then \
	    version=$$("$$lacking" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    prefix=$$("$$lacking" -c 'import sys; print(sys.base_prefix)'); \
	    sudo='sudo '; [ "$$(id -u)" != 0 ] || sudo=; \
	    if [ "$$prefix" = /usr ] && command -v apt-get >/dev/null; then \
	        remedy="install it with: $${sudo}apt-get update && $${sudo}apt-get install -y python$$version-venv"; \
	    else remedy="install it, or name another Python: make PYTHON=/path/to/python3 $(MAKECMDGOALS)"; fi; \
	    echo "Python $$version ($$(command -v "$$lacking")) lacks its venv module; $$remedy" >&2; exit 1; fi; \
	echo "Making $(VENV) with $$("$$good" --version) ..."; \
	rm -rf $(VENV) && "$$good" -m venv $(VENV) && printf '%s\n%s\n' "$$(pwd -P)" '$(PYTHON)' > $(VENV)/made
