"""The resident worker for Python: it runs inside a box, in the box's own Python, and imports nothing of cloche.

``python3 -c <this file> '{"imports": [...], "script": "..."}'``, with a socket as descriptor 3: it imports, runs the
script as the module ``prepared``, and then forks when it is told to (native/inner/worker.c has the format). The child
waits for work, and becomes what ``python3 ARGS...`` would have been, but finds all modules loaded.
"""

from __future__ import annotations

import array
import gc
import json
import os
import socket
import sys
import traceback

TYPE_CHECKING = False  # typing takes a while to import
if TYPE_CHECKING:
    from typing import Any

CHANNEL = 3
NUMBERS = 12  # bytes of three uint32
FILES = 4
QUIET = frozenset({"-u", "-B", "-E", "-I", "-P", "-s", "-S"})  # what they change is settled, or makes no difference


def prepare(wanted: dict[str, Any]) -> str | None:
    """Import and run what was asked for; give the traceback if that failed."""
    import importlib
    import types

    try:
        for name in wanted.get("imports", ()):
            importlib.import_module(name)
        module = types.ModuleType("prepared")
        sys.modules["prepared"] = module
        exec(compile(wanted.get("script", ""), "<prepared>", "exec"), vars(module))
    except BaseException:
        return traceback.format_exc()
    return None


def serve(channel: socket.socket, trouble: str | None) -> None:
    """Fork whenever it is asked for, until the other end is closed."""
    while True:
        orders = received(channel, 1, 1)[1][0]
        between = os.fork()
        if between == 0:
            if os.fork():
                os._exit(0)
            channel.close()
            become(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=orders), trouble)
        os.waitpid(between, 0)
        os.close(orders)
        channel.send(b"forked")


def received(channel: socket.socket, size: int, count: int) -> tuple[bytes, list[int]]:
    """Give the next packet and its descriptors; what is none, as at the end, ends this process."""
    data, extra, _, _ = channel.recvmsg(size, socket.CMSG_SPACE(count * 4))
    files = array.array("i")
    for _, _, told in extra:
        files.frombytes(told)
    if len(data) != size or len(files) != count:
        os._exit(1)
    return data, list(files)


def become(orders: socket.socket, trouble: str | None) -> None:
    """Wait for work, and be the program that is asked for, from its first to its last moment."""
    code = 1
    try:
        numbers, files = received(orders, NUMBERS, FILES)
        orders.close()
        for number in (0, 1, 2):
            os.dup2(files[1 + number], number)
        with open(files[0], "rb") as given:
            parts = [given.read(size) for size in array.array("I", numbers)]
        for file in files[1:]:
            os.close(file)
        os.setsid()
        code = run(parts, trouble)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def run(parts: list[bytes], trouble: str | None) -> int:
    """Run it and give its exit code."""
    argv = [os.fsdecode(part) for part in parts[0].split(b"\0")[:-1]]
    environ = [(name, value) for name, _, value in (part.partition(b"=") for part in parts[1].split(b"\0")[:-1])]
    os.environ.clear()
    os.environb.update(dict(environ))
    fresh_streams(buffered="PYTHONUNBUFFERED" not in os.environ)
    if trouble is not None:
        sys.stderr.write("the worker could not prepare itself:\n" + trouble)
        return leave(1)
    try:
        os.chdir(os.fsdecode(parts[2]) or "/")
    except OSError as error:
        sys.stderr.write(f"the folder it was to start in can't be used: {error}\n")
        return leave(126)
    reseed()
    gc.enable()
    return leave(execute(argv[1:]))


def fresh_streams(*, buffered: bool) -> None:
    """Make the standard streams anew: those there were are of /dev/null."""
    import io

    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        line = os.isatty(number) or number == 2
        errors = "backslashreplace" if number == 2 else None
        raw = open(number, f"{mode}b", buffering=-1 if buffered or number == 0 else 0, closefd=False)
        made = io.TextIOWrapper(raw, "utf-8", errors, line_buffering=line, write_through=not buffered)
        setattr(sys, name, made)
        setattr(sys, f"__{name}__", made)


def reseed() -> None:
    """Draw anew what every box restored from the same image would have in common."""
    modules = sys.modules
    if "random" in modules:
        modules["random"].seed()
    if "numpy.random" in modules:
        modules["numpy.random"].seed()
    if "uuid" in modules:
        vars(modules["uuid"]).update(_node=None, _last_timestamp=None)
    if "tempfile" in modules:
        vars(modules["tempfile"]).update(_name_sequence=None)


def execute(args: list[str]) -> int:
    """Run ``python3 ARGS`` in a new ``__main__`` and give its exit code."""
    import types

    while args and args[0] in QUIET:
        if args.pop(0) == "-u":
            fresh_streams(buffered=False)
    main = types.ModuleType("__main__")
    vars(main)["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    try:
        if args[:1] == ["-m"] and len(args) > 1:
            import runpy

            sys.argv = args[1:]
            sys.path.insert(0, os.getcwd())
            runpy._run_module_as_main(args[1], alter_argv=True)  # type: ignore[attr-defined]
            return 0
        text, name, sys.argv, folder = program(args)
        sys.path.insert(0, folder)
        if name not in ("<string>", "<stdin>"):
            main.__file__ = name
        exec(compile(text, name, "exec"), vars(main))
    except SystemExit as end:
        return exit_code(end.code)
    except BaseException as error:
        # Only the frames of the program itself are of interest to whoever reads it.
        inner = error.__traceback__.tb_next if error.__traceback__ is not None else None
        sys.excepthook(type(error), error.with_traceback(inner), inner)
        return 1
    return 0


def program(args: list[str]) -> tuple[str | bytes, str, list[str], str]:
    """Give the program's text, what to call it, its ``sys.argv``, and the folder of its own modules."""
    if args[:1] == ["-c"] and len(args) > 1:
        return args[1], "<string>", ["-c", *args[2:]], ""
    if not args or args[0] == "-":
        return sys.stdin.read(), "<stdin>", args or [""], ""
    if args[0].startswith("-"):
        sys.stderr.write(f"the worker takes a file, -c, -m or -, not {args[0]!r}\n")
        raise SystemExit(2)
    try:
        with open(args[0], "rb") as file:
            return file.read(), args[0], args, os.path.dirname(os.path.abspath(args[0]))
    except OSError as error:
        sys.stderr.write(f"python3: can't open file {args[0]!r}: [Errno {error.errno}] {error.strerror}\n")
        raise SystemExit(2) from None


def exit_code(code: object) -> int:
    """Give what ``sys.exit(code)`` means."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


def leave(code: int) -> int:
    """Do what Python does at its end: threads, functions registered for it, streams."""
    import atexit
    import threading

    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                code = code or 120
    return code


def main() -> None:
    """Prepare, then serve."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=CHANNEL)
    channel.set_inheritable(False)
    trouble = prepare(json.loads(sys.argv[1]))
    sys.argv = [""]
    gc.collect()
    gc.freeze()  # a child's collector leaves these pages alone, so that they stay shared
    gc.disable()
    serve(channel, trouble)


main()
