"""How a runtime tells the agent's instance to bring one box up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import cloche_native as native
from cloche_native.agent import Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to bring one box up.

    ``argv`` is a command of the host that, in the end, executes the agent inside the box as ``<agent> <fd>`` with the
    control socket open at descriptor ``cloche_native.agent.CONTROL_FD``, and where the sandbox has a monitor, with one
    more socket at ``WATCH_FD``: a launcher in between leaves both open. It runs as the box's own host user where there
    is one, and as process 1 of new ``namespaces`` if these are wanted. ``dies_with_agent`` says that the kernel ends
    every process of the box when the agent ends (it is process 1 of a process-id namespace). ``sized`` are the paths in
    the box of the file systems that ``Limits.disk`` bounds; ``None``: all that the agent makes. ``cleanup`` runs in a
    worker thread once the box is gone, last first; what raises is tried again at the next ``delete``.
    """

    argv: tuple[str, ...]
    setup: Setup
    workspace: str
    env: Mapping[str, str] = field(default_factory=dict)
    stages: tuple[native.Stage, ...] = ()
    stage_folder: str | None = None
    namespaces: bool = False
    dies_with_agent: bool = True
    sized: tuple[str, ...] | None = None
    cleanup: tuple[Callable[[], object], ...] = ()
