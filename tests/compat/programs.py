"""Programs as people run them, each with what it prints; a guest has `/shown` and `/packages` beside `/usr`."""

from __future__ import annotations

from typing import Final, NamedTuple


class Program(NamedTuple):
    """One piece of work: the command it needs, its arguments, and what it prints."""

    needs: str
    argv: tuple[str, ...]
    printed: str


def python(source: str, printed: str) -> Program:
    return Program("python3", ("/usr/bin/python3", "-c", source), printed)


STANDARD_LIBRARY: Final = """
import concurrent.futures, ctypes, decimal, fcntl, gzip, hashlib, json, mmap, os, pathlib, shutil, signal, socket
import subprocess, tempfile, threading, time, uuid, zipfile
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert sum(pool.map(len, ["a"] * 100)) == 100
assert subprocess.run(["/bin/cat"], input=b"piped", capture_output=True, check=True).stdout == b"piped"
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "a"); path.write_text("x" * 100000)
    shutil.copy2(path, path.with_name("b")); shutil.copytree(folder, folder + ".copy"); shutil.rmtree(folder + ".copy")
    path.with_name("link").symlink_to("a"); os.link(path, path.with_name("hard"))
    assert path.stat().st_nlink == 2 and path.with_name("link").is_symlink()
    with zipfile.ZipFile(path.with_name("z"), "w", zipfile.ZIP_DEFLATED) as archive: archive.write(path, "a")
    assert zipfile.ZipFile(path.with_name("z")).testzip() is None
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:3] = b"abc"; mapped.flush(); fcntl.flock(file, fcntl.LOCK_EX)
    assert path.read_bytes()[:4] == b"abcx"
    names = sorted(entry.name for entry in os.scandir(folder))
one, other = socket.socketpair(); one.send(b"ping"); assert other.recv(4) == b"ping"
got = []
signal.signal(signal.SIGALRM, lambda *_: got.append(1)); signal.setitimer(signal.ITIMER_REAL, 0.02); time.sleep(0.2)
pid = os.fork()
if pid == 0: os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
assert ctypes.CDLL(None).getpid() == os.getpid() and uuid.uuid4() != uuid.uuid4()
print(names, got, hashlib.sha256(gzip.decompress(gzip.compress(b""))).hexdigest()[:8], 1 / decimal.Decimal(8))
"""

SQLITE: Final = """
import sqlite3, threading
def connect():
    found = sqlite3.connect("db", timeout=30, isolation_level=None)
    found.execute("pragma busy_timeout=30000")
    return found
first = connect()
mode = first.execute("pragma journal_mode=wal").fetchone()[0]
first.execute("create table t (who, n)")
def fill(who):
    own = connect()
    for n in range(20): own.execute("insert into t values (?, ?)", (who, n))
    own.close()
threads = [threading.Thread(target=fill, args=(who,)) for who in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
(whole,) = first.execute("pragma integrity_check").fetchone()
print(mode, first.execute("select count(*), sum(n) from t").fetchone(), whole)
"""

MULTIPROCESSING: Final = """
import multiprocessing, os
from multiprocessing import shared_memory
def square(n): return n * n
def fill(name, lock, count, queue):
    held = shared_memory.SharedMemory(name)
    for _ in range(50):
        with lock: count.value += 1
    held.buf[0] = 9; held.close(); queue.put(os.getpid())
if __name__ == "__main__":
    told = []
    for way in ("fork", "spawn"):
        with multiprocessing.get_context(way).Pool(2) as pool: told.append(sum(pool.map(square, range(20))))
    how = multiprocessing.get_context("fork")
    held = shared_memory.SharedMemory(create=True, size=16)
    lock, count, queue = how.Lock(), how.Value("i", 0, lock=False), how.Queue()
    working = [how.Process(target=fill, args=(held.name, lock, count, queue)) for _ in range(3)]
    for one in working: one.start()
    pids = {queue.get(timeout=30) for _ in working}
    for one in working: one.join()
    print(told, count.value, len(pids), held.buf[0], [one.exitcode for one in working])
    held.close(); held.unlink()
"""

ASYNCIO: Final = """
import asyncio, signal
async def serve(reader, writer):
    writer.write((await reader.readline()).upper()); await writer.drain(); writer.close()
async def ask(open_it):
    reader, writer = await open_it; writer.write(b"hello\\n"); found = await reader.readline(); writer.close()
    return found
async def main():
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, over.set)
    tcp = await asyncio.start_server(serve, "127.0.0.1", 0)
    unix = await asyncio.start_unix_server(serve, "socket")
    port = tcp.sockets[0].getsockname()[1]
    told = await asyncio.gather(*(ask(asyncio.open_connection("127.0.0.1", port)) for _ in range(20)))
    told.append(await ask(asyncio.open_unix_connection("socket")))
    child = await asyncio.create_subprocess_shell("kill -USR1 $PPID; cat; exit 3", stdin=-1, stdout=-1)
    said, _ = await child.communicate(b"said")
    await asyncio.wait_for(over.wait(), 10)
    both = asyncio.wait_for(asyncio.sleep(5), 0.05), asyncio.to_thread(sum, (1, 2))
    late = await asyncio.gather(*both, return_exceptions=True)
    tcp.close(); unix.close()
    print(set(told), len(told), said, child.returncode, type(late[0]).__name__, late[1])
asyncio.run(main())
"""

NUMPY: Final = """
import numpy as np
random = np.random.default_rng(1)
a = random.standard_normal((120, 120))
assert np.allclose(a @ np.linalg.inv(a), np.eye(120), atol=1e-6)
assert np.allclose(np.fft.ifft(np.fft.fft(a[0])), a[0])
np.save("a.npy", a); held = np.load("a.npy", mmap_mode="r+"); held[0, 0] = 4; held.flush()
print(np.load("a.npy")[0, 0], a.astype("f4").dtype, int(np.arange(10).reshape(2, 5).sum(axis=1)[1]))
"""

PANDAS: Final = """
import sqlite3
import pandas as pd
frame = pd.DataFrame({"who": ["a", "b", "a"], "n": [1, 2, 3], "at": pd.date_range("2024-01-01", periods=3)})
frame.to_csv("f.csv", index=False); again = pd.read_csv("f.csv", parse_dates=["at"])
assert (again == frame).all().all()
with sqlite3.connect("db") as db:
    frame.to_sql("t", db, index=False); total = int(pd.read_sql("select sum(n) s from t", db)["s"].iloc[0])
print(dict(again.groupby("who")["n"].sum()) == {"a": 4, "b": 2}, total, again["at"].dt.day_name().iloc[0])
"""

NODE: Final = """
const {execFileSync, spawn} = require('child_process'), fs = require('fs'), http = require('http');
const {Worker} = require('worker_threads'), crypto = require('crypto'), zlib = require('zlib');
async function main() {
  fs.writeFileSync('n.txt', 'n'); const read = await fs.promises.readFile('n.txt', 'utf8');
  const worker = new Worker("require('worker_threads').parentPort.postMessage(6*7)", {eval: true});
  const told = await new Promise(done => worker.once('message', done));
  const server = http.createServer((_, answer) => answer.end('served')).listen(0, '127.0.0.1');
  await new Promise(done => server.once('listening', done));
  const page = await (await fetch(`http://127.0.0.1:${server.address().port}`)).text();
  server.close(); server.closeAllConnections();
  const code = await new Promise(done => spawn('sh', ['-c', 'exit 5']).on('exit', done));
  const hash = crypto.createHash('sha256').update(zlib.gunzipSync(zlib.gzipSync(''))).digest('hex').slice(0, 8);
  console.log(read, told, page, code, hash, execFileSync('/bin/echo', ['child']).toString().trim());
}
main();
"""

DENO: Final = """
interface Told { n: number }
const code = "data:text/javascript," + encodeURIComponent("postMessage({n: 6*7}); close()");
const worker = new Worker(code, {type: "module"});
const told: Told = await new Promise(done => worker.onmessage = event => done(event.data));
const server = Deno.serve({port: 0, hostname: "127.0.0.1", onListen() {}}, () => new Response("served"));
const page = await (await fetch(`http://127.0.0.1:${server.addr.port}`)).text(); await server.shutdown();
const bytes = new Uint8Array([0,97,115,109,1,0,0,0,1,5,1,96,0,1,127,3,2,1,0,7,5,1,1,102,0,0,10,6,1,4,0,65,42,11]);
const made = await WebAssembly.instantiate(bytes);
await Deno.writeTextFile("d.txt", "d");
const child = await new Deno.Command("sh", {args: ["-c", "echo child; exit 3"]}).output();
console.log(told.n, page, (made.instance.exports.f as () => number)(), await Deno.readTextFile("d.txt"), child.code);
"""

COMPILED: Final = """
#include <pthread.h>
#include <stdio.h>
static void *run(void *at) { *(int *)at += 41; return at; }
int main(void) {
    int n = 1; pthread_t one;
    pthread_create(&one, NULL, run, &n); pthread_join(one, NULL);
    return printf("%d\\n", n) != 3;
}
"""

GIT: Final = """
set -e
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init -q -b main r; cd r
for n in 1 2 3; do echo $n > f$n; git add .; git commit -qm c$n; done
git checkout -q -b side HEAD~1; echo s > s; git add s; git commit -qm side
git checkout -q main; git merge -q --no-edit side; git tag v1
git gc -q; git fsck 2> /dev/null
cd ..; git clone -q r copy; cd copy; git log --oneline | wc -l; git describe --tags; git status --short; cat s
git mv f1 moved; git diff --cached --name-status -M | tr '\\t' ' '; git stash -q
git worktree add -q ../tree v1; cat ../tree/f3
"""

PROGRAMS: Final[dict[str, Program]] = {
    "python": python(STANDARD_LIBRARY, "['a', 'b', 'hard', 'link', 'z'] [1] e3b0c442 0.125\n"),
    "python sqlite": python(SQLITE, "wal (80, 760) ok\n"),
    "python multiprocessing": Program(
        "python3",
        ("sh", "-c", 'printf %s "$0" > m.py; exec /usr/bin/python3 m.py', MULTIPROCESSING),
        "[2470, 2470] 150 3 9 [0, 0, 0]\n",
    ),
    "python asyncio": python(ASYNCIO, "{b'HELLO\\n'} 21 b'said' 3 TimeoutError 3\n"),
    "python numpy": python(NUMPY, "4.0 float32 35\n"),
    "python pandas": python(PANDAS, "True 6 Monday\n"),
    "python venv": Program(
        "python3",
        ("sh", "-c", "/usr/bin/python3 -m venv --without-pip v; v/bin/python -c 'import sys; print(sys.prefix[-2:])'"),
        "/v\n",
    ),
    "node": Program("node", ("node", "-e", NODE), "n 42 served 5 e3b0c442 child\n"),
    "deno": Program(
        "deno",
        ("sh", "-c", 'printf %s "$0" > d.ts; exec /shown/deno run -qA d.ts', DENO),
        "42 served 42 d 3\n",
    ),
    "gcc": Program("gcc", ("sh", "-c", 'printf %s "$0" > c.c; gcc -O1 -g -pthread c.c -o c && ./c', COMPILED), "42\n"),
    "git": Program("git", ("sh", "-c", GIT), "5\nv1\ns\nR100 f1 moved\n3\n"),
    "bash": Program(
        "bash", ("bash", "-c", 'while read -r l; do echo "<$l>"; done < <(printf "a\\nb\\n") | tail -1'), "<b>\n"
    ),
    "perl": Program("perl", ("perl", "-e", 'my $x = `echo inner`; print "perl $x"'), "perl inner\n"),
    "tar": Program(
        "tar",
        ("sh", "-c", "mkdir -p t/u; echo in > t/a; ln -s a t/l; tar czf t.tgz t; rm -r t; tar xzf t.tgz; cat t/l"),
        "in\n",
    ),
    "find and xargs": Program(
        "find", ("sh", "-c", "mkdir -p d/e; seq 5 > d/e/f; find d -type f -print0 | xargs -0 wc -l"), "5 d/e/f\n"
    ),
    "awk and sed": Program(
        "awk",
        ("sh", "-c", "seq 3 | awk '{ while ((\"echo 4\" | getline x) > 0) print x * $1 }' | sed s/4/four/"),
        "four\n",
    ),
}
