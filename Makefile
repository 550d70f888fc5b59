# `make demo` trains three networks and compares them; `make test` runs the tests, `make test-all` also those that take
# long, and `make test-thorough` looks for what is rare, with more examples and more faults. All of them make .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all test-thorough lint audit docs findings house benchmark faults dist clean

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile -e . -c constraints.txt
	touch $@

.venv/installed-test: pyproject.toml constraints.txt
	@# The newest pip looks through an index in half the time of the one that comes with Python 3.11.
	$(PYTHON) -m venv --without-pip .venv
	$(PYTHON) -m pip --python $(BIN)/python install --quiet --no-compile pip || $(BIN)/python -m ensurepip --upgrade
	@# Three at once: two processors unpack, and one waits for an answer; each takes the next eighth of the pinned versions.
	seq 0 7 | xargs -P 3 -I {} sh -c "grep == constraints.txt | awk 'NR % 8 == {}' > .venv/part{}.txt && \
		$(BIN)/python -m pip install --quiet --no-compile --no-deps -r .venv/part{}.txt"
	$(BIN)/python -m pip install --quiet --no-compile --no-build-isolation -e '.[test]' -c constraints.txt
	touch .venv/installed $@

demo: .venv/installed
	rm -rf runs/demo
	$(BIN)/bnexp demo

test: .venv/installed-test
	$(BIN)/python -m pytest --processes 3

test-all: .venv/installed-test
	$(BIN)/python -m pytest --processes 3 --long

test-thorough: .venv/installed-test
	$(BIN)/python -m pytest --processes 3 --long --thorough

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: .venv/installed-test
	$(BIN)/python .ci/audit.py

docs: .venv/installed
	$(BIN)/bnexp schema --markdown > docs/config.md
	$(BIN)/bnexp schema --sweep --markdown > docs/sweep.md
	$(BIN)/bnexp schema > configs/schema.json
	$(BIN)/bnexp schema --sweep > configs/sweep.schema.json
	$(BIN)/python -m bnexp.probes.reference > docs/probes.md

.PHONY: site
# The site needs no bnexp, and so no torch: an environment of its own, of the extra `site` alone.
.venv/site/installed: pyproject.toml
	$(PYTHON) -m venv .venv/site
	.venv/site/bin/python -c "import tomllib; \
		print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['site'], sep='\n')" \
		> .venv/site/needs.txt
	.venv/site/bin/python -m pip install --quiet --no-compile -r .venv/site/needs.txt
	touch $@

site: .venv/site/installed
	NO_MKDOCS_2_WARNING=1 .venv/site/bin/mkdocs build --strict
	@echo "See it: $(PYTHON) -m http.server --directory site"

findings: .venv/installed
	$(BIN)/python tools/findings.py write

house: .venv/installed
	$(BIN)/python tools/measure_house.py

benchmark: .venv/installed
	$(BIN)/python -m benchmarks

faults: .venv/installed
	$(BIN)/python tests/faults/faults.py

dist: .venv/installed-test
	rm -rf dist
	$(BIN)/python tools/release.py $(REPOSITORY)

clean:
	rm -rf .venv build dist site *.egg-info
