# A pool of processes, shared memory, temporary files.
python3 - <<'END'
import multiprocessing as m, tempfile, subprocess, os, shutil
from multiprocessing import shared_memory
def f(n):
    return sum(range(n))
if __name__ == "__main__":
    with m.Pool(4) as pool:
        print(sum(pool.map(f, range(200))))
    s = shared_memory.SharedMemory(create=True, size=1000)
    s.buf[0] = 1
    s.close(); s.unlink()
    for n in range(20):
        with tempfile.TemporaryDirectory() as d:
            open(os.path.join(d, "x"), "w").write("x")
            os.chmod(os.path.join(d, "x"), 0o600)
            subprocess.run(["cat", os.path.join(d, "x")], check=True, stdout=subprocess.DEVNULL)
END
