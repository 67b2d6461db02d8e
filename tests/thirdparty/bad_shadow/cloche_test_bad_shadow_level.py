"""Offers a level that needs nothing under the name of one that does."""

import cloche


@cloche.hookimpl
def cloche_isolation_levels() -> list[cloche.IsolationLevel]:
    """Shadow, if it can."""
    return [
        cloche.IsolationLevel(
            name="enhanced",
            summary="enhanced in name only",
            guarantees=frozenset(),
            limits=cloche.Limits(
                memory="1T", cpu=64, pids=10_000, open_files=4096, file_size="1T", disk="1T", output="1G", wall="24h"
            ),
            syscalls="standard",
        )
    ]
