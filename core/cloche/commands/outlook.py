"""What would become of sandboxes here, asked of every runtime, without making any."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio

from cloche.choice import Choice
from cloche.errors import ClocheError, RuntimeUnavailable, SpecError, Unenforceable
from cloche.incidents.bench import Bench
from cloche.policy import Policy
from cloche.request import make_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloche.enforcement import Enforcement
    from cloche.incidents.prepare import Judging
    from cloche.plugins import Plugins
    from cloche.runtime import Runtime
    from cloche.spec import Spec


@dataclass(slots=True)
class Outlook:
    """One request, such as an isolation level with nothing else asked for.

    ``chosen`` is the runtime that would be used, if any can keep it; ``refused`` says of each that can't why;
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
    return views(plugins, [_spec(plugins, level) for level in levels])


def views(plugins: Plugins, specs: Sequence[Spec]) -> tuple[Mapping[str, str | None], list[Outlook]]:
    """Give why each runtime can't work here, and the outlook for each of ``specs``."""
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
    bench = Bench(plugins)
    return reasons, [await _judged(choice, plugins, bench, spec) for spec in specs]


async def _judged(choice: Choice, plugins: Plugins, bench: Bench, spec: Spec) -> Outlook:
    """Give the outlook for a spec, with what its rules come to."""
    try:
        judging = bench.judging(spec)
    except SpecError as error:  # a rule that is not there, or can't be meant: no runtime is to blame
        return Outlook(spec.level.name, refused=dict.fromkeys(plugins.runtimes, str(error)))
    if judging is None:
        return await _outlook(choice, plugins, spec, lambda spec, _: spec)

    def judged(spec: Spec, runtime: Runtime) -> Judging:
        made = bench.judging(spec, runtime=runtime)
        return judging if made is None else made

    found = await _outlook(choice, plugins, spec, lambda spec, runtime: judged(spec, runtime).seeing(spec))
    for name, report in found.reports.items():
        found.reports[name] = judged(spec, plugins.runtimes[name]).told(report)
    return found


async def _outlook(choice: Choice, plugins: Plugins, spec: Spec, full: Callable[[Spec, Runtime], Spec]) -> Outlook:
    out = Outlook(spec.level.name)
    for name in list(plugins.runtimes):
        try:
            out.reports[name] = (await choice.choose(replace(spec, strict=False), name, full))[1]
            await choice.choose(spec, name, full)
        except RuntimeUnavailable:
            out.refused[name] = "it does not work here"
        except Unenforceable as error:
            out.refused[name] = error.reasons.get(name, str(error))
        except ClocheError as error:
            out.refused[name] = str(error)
    if any(runtime.runs_programs and name not in out.refused for name, runtime in plugins.runtimes.items()):
        out.chosen = (await choice.choose(spec, None, full))[0].name
    return out
