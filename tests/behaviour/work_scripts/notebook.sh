# A notebook run through nbclient and a kernel of its own.
python3 -m venv v && v/bin/pip install -q --no-index --find-links /cache/wheels nbclient nbformat ipykernel numpy
v/bin/python - <<'END'
import nbformat
from nbclient import NotebookClient
cells = ["import numpy as np, os", "print(np.arange(5).sum())", "!ls -la", "%timeit -n1 -r1 sum(range(1000))"]
book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
NotebookClient(book, timeout=120, kernel_name="python3").execute()
nbformat.write(book, "done.ipynb")
print(book.cells[1].outputs)
END
