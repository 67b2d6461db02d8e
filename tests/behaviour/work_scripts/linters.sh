# Ruff over the standard library; a suite with coverage in four processes.
python3 -m venv v && v/bin/pip install -q --no-index --find-links /cache/wheels ruff pytest pytest-xdist pytest-cov
v/bin/ruff check --exit-zero --quiet /usr/lib/python3*/json /usr/lib/python3*/email
mkdir p && echo 'def f(n): return n + 1' > p/m.py && touch p/__init__.py
printf 'import pytest\nfrom p.m import f\n@pytest.mark.parametrize("n", range(200))\ndef test(n, tmp_path):\n\t(tmp_path / "x").write_text("x")\n\tassert f(n) > n\n' > test_m.py
v/bin/python -m pytest -q -n 4 --cov p --cov-report html
v/bin/ruff format p && rm -rf htmlcov .pytest_cache
