"""What would become of sandboxes here, asked of every runtime, without making any."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio

from cloche.choice import Choice
from cloche.errors import ClocheError, RuntimeUnavailable, Unenforceable
from cloche.policy import Policy
from cloche.request import make_spec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloche.enforcement import Enforcement
    from cloche.plugins import Plugins
    from cloche.spec import Spec


@dataclass(slots=True)
class Outlook:
    """One isolation level with nothing else asked for.

    ``chosen`` is the runtime that would be used, if any can keep the level; ``refused`` says of each that can't why;
    ``reports`` holds what each runtime that works at all would keep.
    """

    level: str
    chosen: str | None = None
    refused: dict[str, str] = field(default_factory=dict)
    reports: dict[str, Enforcement] = field(default_factory=dict)


def outlooks(plugins: Plugins, levels: Sequence[str]) -> tuple[Mapping[str, str | None], list[Outlook]]:
    """Give why each runtime can't work here (``None``: it does), and the outlook at each of ``levels``.

    The runtimes try themselves for real, once. Raises ``SpecError`` for an unknown level.
    """
    specs = [_spec(plugins, level) for level in levels]
    try:
        return anyio.run(_ask, plugins, specs)
    finally:
        for runtime in plugins.runtimes.values():
            runtime.close()


def _spec(plugins: Plugins, level: str) -> Spec:
    return make_spec(
        Policy(isolation=level), plugins.levels, name=None, rootfs=None, env=None, hostname="cloche", user=1000,
        lifetime=None, idle_timeout=None, metadata=None, strict=True,
    )  # fmt: skip


async def _ask(plugins: Plugins, specs: Sequence[Spec]) -> tuple[dict[str, str | None], list[Outlook]]:
    choice = Choice(plugins)
    reasons = {name: await choice.unavailable(name) for name in list(plugins.runtimes)}
    return reasons, [await _outlook(choice, plugins, spec) for spec in specs]


async def _outlook(choice: Choice, plugins: Plugins, spec: Spec) -> Outlook:
    out = Outlook(spec.level.name)
    for name in list(plugins.runtimes):
        try:
            out.reports[name] = (await choice.choose(replace(spec, strict=False), name))[1]
            await choice.choose(spec, name)
        except RuntimeUnavailable:
            out.refused[name] = "it does not work here"
        except Unenforceable as error:
            out.refused[name] = error.reasons.get(name, str(error))
        except ClocheError as error:
            out.refused[name] = str(error)
    if len(out.refused) < len(plugins.runtimes):
        out.chosen = (await choice.choose(spec, None))[0].name
    return out
