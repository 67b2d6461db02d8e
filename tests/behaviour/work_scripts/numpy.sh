# Numpy: matrices, a file mapped into memory, a random walk.
python3 -m venv v && v/bin/pip install -q --no-index --find-links /cache/wheels numpy
v/bin/python - <<'END'
import numpy as np
rng = np.random.default_rng(1)
a = rng.random((300, 300))
assert np.allclose(np.linalg.inv(a) @ a, np.eye(300))
np.save("a.npy", a)
assert np.load("a.npy", mmap_mode="r").sum() == a.sum()
print(np.cumsum(rng.standard_normal(100000))[-1])
END
