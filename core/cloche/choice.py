"""Which runtime makes a sandbox: of those that work here and keep all that is asked, the one the level prefers."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import anyio.to_thread

from cloche import units
from cloche.enforcement import Enforcement, Guarantee
from cloche.errors import ClocheError, RuntimeUnavailable, SpecError, Unenforceable
from cloche.plugins import Plugins
from cloche.runtime import Runtime
from cloche.spec import Spec


class Choice:
    """Asks each runtime once whether it works here, and for every sandbox what it would keep."""

    def __init__(self, plugins: Plugins) -> None:
        self._plugins = plugins
        self._reasons: dict[str, str | None] = {}
        self._asking = anyio.Lock(fast_acquire=True)

    async def unavailable(self, name: str) -> str | None:
        """Give why a runtime can't work here, or ``None`` if it can. Raises ``SpecError`` for an unknown name."""
        found = self._plugins.runtimes.get(name) if isinstance(name, str) else None
        if found is None:
            known = ", ".join(sorted(self._plugins.runtimes)) or "none"
            raise SpecError(f"runtime: {units.shown(name)} is unknown; known runtimes: {known}")
        return await self._reason(name, found)

    async def choose(self, spec: Spec, wanted: str | None) -> tuple[Runtime, Enforcement]:
        """Give the runtime for ``spec`` and its report. Raises ``RuntimeUnavailable`` and ``Unenforceable``."""
        if wanted is not None and (reason := await self.unavailable(wanted)) is not None:
            raise RuntimeUnavailable(wanted, reason)
        reports: dict[str, Enforcement] = {}
        refused: dict[str, str] = {}
        candidates: list[tuple[tuple[bool, bool, int], Runtime]] = []
        needed = spec.needed()
        for name, runtime in self._plugins.runtimes.items():
            if wanted is not None and name != wanted:
                continue
            if (reason := await self._reason(name, runtime)) is not None:
                refused[name] = reason
                continue
            try:
                report = runtime.enforcement(spec)
                unmet = report.refusals(needed)
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
            light = spec.level.prefer == "strong" or Guarantee.KERNEL not in runtime.guarantees
            candidates.append(((not unmet, light, runtime.strength), runtime))
        if not candidates:
            raise Unenforceable(_nothing_left(spec, refused), reasons=refused)
        if len(candidates) == 1:
            chosen = candidates[0][1]
        else:
            candidates.sort(key=lambda entry: entry[0], reverse=True)
            chosen = self._plugins.select_runtime(spec, [runtime for _, runtime in candidates])
        return chosen, reports[chosen.name]

    async def _reason(self, name: str, runtime: Runtime) -> str | None:
        if name not in self._reasons:
            async with self._asking:  # a runtime is asked once, however many sandboxes are created meanwhile
                if name not in self._reasons:
                    self._reasons[name] = await anyio.to_thread.run_sync(_ask, runtime)
        return self._reasons[name]


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
