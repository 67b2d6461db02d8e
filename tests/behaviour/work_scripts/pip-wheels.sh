# Pip install requests, flask and rich from wheels.
python3 -m venv v
v/bin/pip install --no-index --find-links /cache/wheels requests flask rich
v/bin/python -c 'import requests, flask, rich; print(flask.Flask("x"))'
v/bin/pip list && v/bin/pip uninstall -q -y rich
