"""Which runtime makes a sandbox: of those that work here and keep all that is asked, the one the level prefers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import anyio
import anyio.to_thread

from cloche import units
from cloche.enforcement import Enforced, Enforcement, Guarantee, Kept, Unenforced
from cloche.errors import ClocheError, RuntimeUnavailable, SpecError, Unenforceable
from cloche.plugins import Plugins
from cloche.runtime import Instance, Runtime
from cloche.spec import Spec

Build = Callable[[Runtime, Spec], Awaitable[Instance]]
"""How an instance is had of the runtime that was chosen."""


def created(runtime: Runtime, spec: Spec) -> Awaitable[Instance]:
    """Have a new one made."""
    return runtime.create(spec)


class Choice:
    """Asks each runtime once whether it works here, and for every sandbox what it would keep."""

    def __init__(self, plugins: Plugins, prepare: Callable[[Runtime], Awaitable[None]] | None = None) -> None:
        """Take what is to be done before a runtime is asked: it may try things for real."""
        self._plugins = plugins
        self._prepare = prepare
        self._reasons: dict[str, str | None] = {}
        self._asking = anyio.Lock(fast_acquire=True)

    async def unavailable(self, name: str) -> str | None:
        """Give why a runtime can't work here, or ``None`` if it can. Raises ``SpecError`` for an unknown name."""
        return await self._reason(name, self.named(name))

    def named(self, name: str) -> Runtime:
        """Give the runtime of that name. Raises ``SpecError`` for an unknown one."""
        found = self._plugins.runtimes.get(name) if isinstance(name, str) else None
        if found is None:
            known = ", ".join(sorted(self._plugins.runtimes)) or "none"
            raise SpecError(f"runtime: {units.shown(name)} is unknown; known runtimes: {known}")
        return found

    async def choose(
        self, asked: Spec, wanted: str | None, full: Callable[[Spec, Runtime], Spec] = lambda spec, _: spec
    ) -> tuple[Runtime, Enforcement]:
        """Give the runtime for what is asked, and its report.

        ``full`` gives what one runtime must keep, beyond what is asked, or raises ``SpecError`` where that can't be
        meant there. Raises ``RuntimeUnavailable`` and ``Unenforceable``.
        """
        if wanted is not None and (reason := await self.unavailable(wanted)) is not None:
            raise RuntimeUnavailable(wanted, reason)
        reports: dict[str, Enforcement] = {}
        refused: dict[str, str] = {}
        candidates: list[tuple[tuple[bool, bool, int], Runtime]] = []
        for name, runtime in self._plugins.runtimes.items():
            if name != wanted if wanted is not None else not runtime.runs_programs:
                continue
            if (reason := await self._reason(name, runtime)) is not None:
                refused[name] = reason
                continue
            try:
                spec = full(asked, runtime)
                report = _with_host(runtime.enforcement(spec), spec)
                unmet = report.refusals(spec.needed())
            except ClocheError as error:
                refused[name] = str(error)
                continue
            except Exception as error:  # noqa: BLE001 - a third party's code; its trouble must not hide the others
                refused[name] = f"its report failed: {type(error).__name__}: {error}"
                continue
            if unmet and spec.strict:
                refused[name] = "; ".join(f"{feature}: {why}" for feature, why in unmet.items())
                continue
            reports[name] = report
            light = asked.level.prefer == "strong" or Guarantee.KERNEL not in runtime.guarantees
            candidates.append(((not unmet, light, runtime.strength), runtime))
        if not candidates:
            raise Unenforceable(_nothing_left(asked, refused), reasons=refused)
        if len(candidates) == 1:
            chosen = candidates[0][1]
        else:
            candidates.sort(key=lambda entry: entry[0], reverse=True)
            chosen = self._plugins.select_runtime(full(asked, candidates[0][1]), [runtime for _, runtime in candidates])
        return chosen, reports[chosen.name]

    def report(self, runtime: str, spec: Spec) -> Enforcement:
        """Give what a runtime would keep of ``spec``, and what the host itself does. Raises what the runtime raises."""
        return _with_host(self._plugins.runtimes[runtime].enforcement(spec), spec)

    async def _reason(self, name: str, runtime: Runtime) -> str | None:
        if name not in self._reasons:
            async with self._asking:  # a runtime is asked once, however many sandboxes are created meanwhile
                if name not in self._reasons:
                    if self._prepare is not None:
                        await self._prepare(runtime)
                    self._reasons[name] = await anyio.to_thread.run_sync(_ask, runtime)
        return self._reasons[name]


def _with_host(report: Enforcement, spec: Spec) -> Enforcement:
    """Add what the host keeps whatever the runtime: it reads the output and has the clocks."""
    own: dict[str, Kept] = {}
    if spec.limits.output is not None:
        own["output"] = Enforced("the host counts what it reads; the program is killed with all its descendants")
    if spec.limits.wall is not None:
        own["wall"] = Enforced("the host's monotonic clock; the program is killed with all its descendants")
    for what, bound in (("lifetime", spec.lifetime), ("idle_timeout", spec.idle_timeout)):
        if bound is not None:
            own[what] = Enforced("the host's monotonic clock; every process of the box is killed")
    if spec.monitor:
        own["events"] = Unenforced("this runtime can't tell what its guests do", "leave out monitor=")
    if spec.rules and not spec.monitor.rules:
        report = Enforcement({name: kept for name, kept in report.items() if name != "rules"})
        own["rules"] = Unenforced(
            "no plugin brings rules that could judge here", "see `cloche rules list`, or rules='off'"
        )
    elif spec.monitor.rules:
        own["rules"] = Unenforced(
            "this runtime can't judge what its guests do", "leave out the monitor's rules, and rules="
        )
    return Enforcement({**own, **report})


def _ask(runtime: Runtime) -> str | None:
    try:
        reason: object = runtime.unavailable()
    except BaseException as error:  # noqa: BLE001 - a third party's code, which may even call sys.exit
        return f"its own check failed: {type(error).__name__}: {error}"
    if reason is None or isinstance(reason, str):
        return reason
    return f"its own check gave {units.shown(reason)}; it must give None or a reason"


def _nothing_left(spec: Spec, refused: Mapping[str, str]) -> str:
    if not refused:
        return f"isolation {spec.level.name!r} was asked for, but no runtime is installed; see `cloche runtimes`"
    lines = [f"  {name}: {why}" for name, why in refused.items()]
    return "\n".join(
        [
            f"no runtime here can keep isolation {spec.level.name!r} with this policy; nothing was run:",
            *lines,
            "ask for less, or give strict=False to run with what can be kept (box.enforcement says what that is).",
            "`cloche doctor` shows how to fix the machine",
        ]
    )
