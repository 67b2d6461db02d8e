"""Both ends of one program's streams, made before it starts and closed whatever happens."""

from __future__ import annotations

import os

from cloche.output import Stream
from cloche.pipes import Input, Open, Reader, Source
from cloche.runtime_parts import Stdio


class Streams:
    """The host's ends (``outputs``, ``stdin``) and, until the program has them, the guest's (``stdio``)."""

    def __init__(self, *, terminal: bool, wants_input: bool) -> None:
        self.outputs: dict[Stream, Reader] = {}
        self.stdin: Input | None = None
        self.stdio = Stdio()
        if terminal:
            return
        given: int | None = None
        try:
            if wants_input:
                given, ours = os.pipe2(os.O_CLOEXEC)
                self.stdio = Stdio(given)
                self.stdin = Input(ours)
            out = self._output("stdout")
            self.stdio = Stdio(given, out)
            self.stdio = Stdio(given, out, self._output("stderr"))
        except OSError:
            self.handed_over()
            self.close()
            raise

    def _output(self, stream: Stream) -> int:
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        self.outputs[stream] = Reader(ours)
        return theirs

    def handed_over(self) -> None:
        """Close the guest's ends here: the program has its own, or never will."""
        for fd in (self.stdio.stdin, self.stdio.stdout, self.stdio.stderr):
            if fd is not None:
                os.close(fd)
        self.stdio = Stdio()

    def adopt(self, terminal: int) -> None:
        """Take the controlling side of a terminal, which is both input and output."""
        self.outputs["stdout"] = Reader(terminal)
        self.stdin = Input(os.dup(terminal))

    def close(self) -> None:
        """Close the host's ends. Harmless when repeated."""
        for reader in self.outputs.values():
            reader.close()
        self.outputs.clear()
        if self.stdin is not None:
            self.stdin.close()

    def write_at_once(self, source: Source | Open | None, *, keep_open: bool) -> Source | None:
        """Write a small input without a task of its own; give what did not fit, or ``None`` if all is done."""
        if self.stdin is None or source is None or isinstance(source, Open):
            return None
        if not isinstance(source, bytes):
            return source
        count = self.stdin.write_ready(source) if source else 0
        if 0 <= count < len(source):
            return source[count:]
        if not keep_open:
            self.stdin.close()
        return None
