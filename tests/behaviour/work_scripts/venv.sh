# A virtual environment, with pip in it.
python3 -m venv v && v/bin/pip --version && v/bin/python -c 'import pip, venv'
