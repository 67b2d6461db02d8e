"""Gives one level and then breaks."""

from collections.abc import Iterator

import cloche


@cloche.hookimpl
def cloche_isolation_levels() -> Iterator[cloche.IsolationLevel]:
    """Raise half-way."""
    yield cloche.IsolationLevel(
        name="half",
        summary="is not to be left behind",
        guarantees=frozenset(),
        limits=cloche.Limits(
            memory="64M", cpu=1, pids=16, open_files=64, file_size="1M", disk="4M", output="64K", wall="5s"
        ),
        syscalls="standard",
    )
    raise ConnectionError("the level server does not answer")
