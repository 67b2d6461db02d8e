"""Real programs doing plain work under each filter, run as they come."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

import cloche_native as native
from tests.native import reference as ref

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PYTHON = """
import asyncio, concurrent.futures, hashlib, json, multiprocessing, os, pathlib, shutil, sqlite3, ssl, subprocess
import tempfile, threading, zipfile
done = []
thread = threading.Thread(target=lambda: done.append(json.dumps({"a": [1, 2.5, None]})))
thread.start(); thread.join()
assert subprocess.run(["/bin/cat"], input=b"piped", capture_output=True, check=True).stdout == b"piped"
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert sum(pool.map(len, ["a"] * 100)) == 100
async def main():
    process = await asyncio.create_subprocess_exec("/bin/echo", "hi", stdout=subprocess.PIPE)
    return (await process.communicate())[0]
assert asyncio.run(main()) == b"hi\\n"
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "a"); path.write_text("x" * 100000)
    shutil.copy2(path, path.with_name("b")); shutil.copytree(folder, folder + ".copy"); shutil.rmtree(folder + ".copy")
    path.with_name("link").symlink_to("a"); os.link(path, path.with_name("hard"))
    database = sqlite3.connect(path.with_name("db"))
    database.execute("create table t (x)"); database.execute("insert into t values (1)"); database.commit()
    database.close()
    with zipfile.ZipFile(path.with_name("z"), "w") as archive: archive.write(path, "a")
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(abs, [-1, -2]) == [1, 2]
print(done[0], hashlib.sha256(b"").hexdigest()[:8])
"""

PROGRAMS: dict[str, tuple[str, list[str], str]] = {
    # name: (needs, argv, what it prints)
    "python": ("python3", ["python3", "-c", PYTHON], '{"a": [1, 2.5, null]} e3b0c442\n'),
    "shell": (
        "sh",
        ["sh", "-c", "seq 1 1000 | sort -rn | head -n 3 | tr '\\n' ' ' | sed 's/ /,/g'; (exit 3); echo $?; wait"],
        "1000,999,998,3\n",
    ),
    "bash": ("bash", ["bash", "-c", 'while read -r l; do echo "<$l>"; done < <(printf "a\\nb\\n") | tail -1'], "<b>\n"),
    "compiler": (
        "gcc",
        [
            "sh",
            "-c",
            "printf '%s' '#include <stdio.h>\nint main(void){puts(\"hello\");}' >h.c; gcc -O1 h.c -o h && ./h",
        ],
        "hello\n",
    ),
    "perl": ("perl", ["perl", "-e", 'my $x = `echo inner`; print "perl $x"; exit(0)'], "perl inner\n"),
    "find": ("find", ["sh", "-c", "mkdir -p d/e; touch d/e/f; find d -type f -exec wc -c {} \\;"], "0 d/e/f\n"),
    "tar": (
        "tar",
        ["sh", "-c", "mkdir -p t; echo in >t/a; tar czf t.tgz t; rm -r t; tar xzf t.tgz; cp -a t u; mv u v; cat v/a"],
        "in\n",
    ),
    "node": (
        "node",
        [
            "node",
            "-e",
            (
                "const {execFileSync}=require('child_process'),fs=require('fs');fs.writeFileSync('n.txt','n');"
                "setTimeout(()=>fs.promises.readFile('n.txt','utf8').then(t=>"
                "console.log(t,execFileSync('/bin/echo',['child']).toString().trim())),5)"
            ),
        ],
        "n child\n",
    ),
    "git": (
        "git",
        [
            "sh",
            "-c",
            (
                "git init -q r && cd r && echo x >f && git add f && "
                "git -c user.name=a -c user.email=a@b commit -qm first && git log --format=%s && git gc -q && git fsck"
            ),
        ],
        "first\n",
    ),
    "awk": ("awk", ["awk", 'BEGIN { while (("echo 4" | getline x) > 0) print x * x }'], "16\n"),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("sockets", ["all", "none"])
@pytest.mark.parametrize("profile", ref.LEVELS)
def test_it_does_its_work(
    under: Callable[..., None], tmp_path: Path, profile: str, sockets: native.Sockets, name: str
) -> None:
    needs, argv, printed = PROGRAMS[name]
    if shutil.which(needs) is None:
        pytest.skip(f"{needs} is not installed")
    reading, writing = os.pipe()
    program = native.seccomp_program(profile, sockets=sockets)

    def run() -> None:
        os.chdir(tmp_path)
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
        os.execvpe(argv[0], argv, environment)  # noqa: S606 - in a forked child

    with os.fdopen(reading) as pipe:
        try:
            with pytest.raises(ChildProcessError, match="ended with 0"):  # it became the program, which ended well
                under(program, run)
        finally:
            os.close(writing)
            text = pipe.read()
    assert text == printed
