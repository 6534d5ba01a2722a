# Everything that continuous integration checks, in this environment.
check: test
    ruff check
    ruff format --check
    mypy
    lint-imports
    codespell

test:
    python -m pytest -q -n auto

fix:
    ruff check --fix
    ruff format

bench:
    python benchmarks/start_up.py
    python benchmarks/candidates.py
    python benchmarks/growth.py
    python benchmarks/classes.py
    python benchmarks/percentiles.py
    python benchmarks/simulation.py
