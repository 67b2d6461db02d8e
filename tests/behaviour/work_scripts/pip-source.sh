# An extension in C built by pip from its source archive.
python3 -m venv v && v/bin/pip install -q --no-index --find-links /cache/wheels "setuptools>=77" wheel
v/bin/pip install --no-index --no-build-isolation /cache/sources/markupsafe-*.tar.gz
v/bin/python -c 'import markupsafe._speedups'
