# A package built from its source archive, and its test suite run: suite.sh NAME "WHEELS" ARGUMENTS-OF-PYTEST...
name=$1 wheels=$2
shift 2
python3 -m venv v
v/bin/pip install -q --no-index --find-links /cache/wheels pytest $wheels
tar xf "/cache/sources/$name"-[0-9]*.tar.gz && cd "$name"-*/
../v/bin/pip install -q --no-index --find-links /cache/wheels --no-build-isolation --no-deps .
../v/bin/python -m pytest -q -x -p no:cacheprovider "$@" > log 2>&1 || { tail -40 log; exit 1; }
tail -1 log
