"""Ties a job in a box to this process: what is typed here goes in, what it prints comes out, signals here end it.

Three things run beside each other. The main thread writes the output, and Python runs signal handlers in it. A second
thread carries our standard input to the job. A third one acts on signals, since the main thread may be waiting for
output that never comes. A write to a pipe that nobody reads can only be left by an exception: so the handler raises
``Interrupted``, but only while the main thread is writing, or when someone insists by a second signal. A write that
begins just then is interrupted once more by the third thread, when it does not get on.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal as signals
import termios
import threading
import tty
from typing import TYPE_CHECKING, Final

import anyio

from cloche.errors import ClocheError, SandboxError, StateError
from cloche.spec import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType
    from typing import Self

    from cloche.blocking import Job
    from cloche.output import Chunk

ENDING: Final = (signals.SIGINT, signals.SIGTERM, signals.SIGHUP, signals.SIGQUIT)
READ_SIZE: Final = 1 << 16
STDIN: Final = 0
STUCK: Final = 200
"""Milliseconds without progress after which a write is left that began as a signal came."""
_END, _RESIZE, _QUIT = b"e", b"r", b"q"


class Interrupted(BaseException):
    """A signal that asks this process to end came while it could not go on."""


class Signals:
    """Takes the signals that end programs, for as long as it is entered: ``caught`` is the first one, or 0.

    Those that were ignored when we started stay so (nohup(1), a shell's background jobs).
    """

    def __init__(self) -> None:
        self.caught = 0
        self._writing = self._nudged = False
        self._written = self._seen = 0
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
        self._wake, self._ring = -1, -1

    def __enter__(self) -> Self:
        self._wake, self._ring = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._ring, False)
        for number in (*ENDING, signals.SIGWINCH):
            if signals.getsignal(number) is not signals.SIG_IGN:
                self._before[number] = signals.signal(number, self._came)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signals.signal(number, handler)
        os.close(self._wake)
        os.close(self._ring)

    @contextlib.contextmanager
    def acting(self, end: Callable[[], object], resize: Callable[[], object]) -> Iterator[None]:
        """Call ``end`` for a signal that ends programs, also one caught already; ``resize`` for a new window size."""
        thread = threading.Thread(target=self._serve, args=(end, resize), name="signals", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._notify(_QUIT)
            thread.join()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Let a signal leave what is inside by ``Interrupted``; one that came before, when that does not get on."""
        self._writing = True
        try:
            yield
        finally:
            self._writing = False
            self._written += 1

    def _came(self, number: int, _frame: FrameType | None) -> None:
        if number == signals.SIGWINCH:
            self._notify(_RESIZE)
            return
        if self._nudged:
            self._nudged = False
            if self._writing:
                raise Interrupted
            return
        insists = self.caught != 0
        self.caught = self.caught or number
        self._notify(_END)
        if self._writing or insists:
            raise Interrupted

    def _notify(self, what: bytes) -> None:
        with contextlib.suppress(BlockingIOError):  # 64 Ki notices are waiting: one more says nothing new
            os.write(self._ring, what)

    def _serve(self, end: Callable[[], object], resize: Callable[[], object]) -> None:
        waiting = select.poll()
        waiting.register(self._wake, select.POLLIN)
        while _QUIT not in (came := os.read(self._wake, READ_SIZE)):
            with contextlib.suppress(ClocheError):  # it has ended meanwhile
                if _END in came:
                    end()
                elif _RESIZE in came:
                    resize()
            while self.caught and not waiting.poll(STUCK):
                self._nudge()

    def _nudge(self) -> None:
        """Interrupt a write that began after the signal, or as it came, and that nobody reads."""
        if self._writing and self._written == self._seen:
            self._nudged = True
            signals.pthread_kill(threading.main_thread().ident or 0, self.caught)
        self._seen = self._written


class Keyboard:
    """Carries our standard input to a job, for as long as it is entered."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._stop, self._ring = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._carry, name="standard input", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.write(self._ring, _QUIT)
        self._thread.join()
        os.close(self._stop)
        os.close(self._ring)

    def _carry(self) -> None:
        waiting = select.poll()
        waiting.register(STDIN, select.POLLIN)
        waiting.register(self._stop, select.POLLIN)
        with contextlib.suppress(StateError, anyio.ClosedResourceError):  # the job reads no more, or has ended
            while self._stop not in dict(waiting.poll()):
                try:
                    data = os.read(STDIN, READ_SIZE)
                except OSError:  # a terminal that hung up
                    data = b""
                if not data:
                    self._job.close_stdin()
                    return
                self._job.write(data)


def follow(job: Job, stop: Signals, take: Callable[[Chunk], object], *, feed: bool, end: Callable[[], object]) -> None:
    """Give every chunk the job prints to ``take`` until it ends, feeding it our standard input meanwhile.

    A signal that ends programs calls ``end``. Raises what ``take`` raises, and ``Interrupted``; the job may then still
    run.
    """
    with (
        stop.acting(end, lambda: job.resize(*_rows_and_columns())),
        Keyboard(job) if feed else contextlib.nullcontext(),
        contextlib.closing(job.output()) as output,
    ):
        try:
            for chunk in output:
                take(chunk)
        except BaseException:
            job.kill()  # lets the keyboard's last write end
            raise


def write(chunk: Chunk, stop: Signals) -> None:
    """Write a chunk to our own standard output or standard error, all of it, now.

    Raises ``BrokenPipeError`` when nobody reads it any more, ``SandboxError`` when it can't be written.
    """
    fd = 1 if chunk.stream == "stdout" else 2
    rest = memoryview(chunk.data)
    with stop.writing():
        while rest:
            try:
                rest = rest[os.write(fd, rest) :]
            except BlockingIOError:  # whoever gave us this descriptor made it non-blocking
                select.select((), (fd,), ())
            except BrokenPipeError:
                raise
            except OSError as error:
                raise SandboxError(f"{chunk.stream} of the program can't be passed on: {error.strerror}") from None


@contextlib.contextmanager
def raw_terminal() -> Iterator[None]:
    """Have our terminal hand on every key as it is, and be as before on every way out."""
    before = termios.tcgetattr(STDIN)
    tty.setraw(STDIN, termios.TCSADRAIN)
    try:
        yield
    finally:
        # Flushed, because a guest can make a terminal "type" answers to queries; our shell must not read them.
        with contextlib.suppress(termios.error):  # it is gone: nothing is left to be put right
            termios.tcsetattr(STDIN, termios.TCSAFLUSH, before)


def window() -> Window:
    """Give the size of our terminal, or the usual one where it has none."""
    rows, columns = _rows_and_columns()
    return Window(rows, columns)


def _rows_and_columns() -> tuple[int, int]:
    usual = Window()
    try:
        size = os.get_terminal_size(STDIN)
    except OSError:
        return usual.rows, usual.columns
    return size.lines or usual.rows, size.columns or usual.columns


def stdin_is_terminal() -> bool:
    """Whether our standard input is a terminal."""
    return os.isatty(STDIN)
