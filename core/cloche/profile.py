"""Profiles: whole policies by name, written in TOML, one a file.

::

    name = "untrusted-python"
    summary = "a Python program of a stranger: no network, nothing of the host"
    isolation = "enhanced"            # the only keys that must be there are these three
    network = "none"                  # what is left out takes the level's default
    require = ["kernel"]
    lifetime = "1h"
    idle_timeout = "10m"

    [limits]
    memory = "512M"

    [workspace]                       # kind = "bind" or "overlay" need a source
    kind = "tmpfs"
    target = "/workspace"

    [[mounts]]                        # as many as there are
    source = "/srv/data"
    target = "/data"
    read_only = true                  # or operations = ["read", "list", "stat", "create"]

    [paths]                           # patterns over paths in the box: allowed, read_only, forbidden
    forbidden = ["/workspace/**/.git"]

    [monitor]                         # or monitor = "full" among the keys above
    depth = "full"                    # off, writes, full or strict
    acts = ["exec", "connect"]        # `cloche events acts` names them; left out: all that the depth tells
    overload = "wait"                 # or "count"; also resolve = false, ring = 1048576, sources = ["NAME"]

    [rules]                           # or rules = "on" (or "audit") among the keys above
    use = ["*"]                       # ids, patterns over ids, tag:NAME; `cloche rules list` shows them
    without = ["hidden-file"]
    auto_block = "high"               # auto_suspend, auto_terminate: a severity, or "never"; left out: the level's
    audit = false                     # true: nothing is done, only told
    sensitive = ["/data/keys/**"]     # what counts as a secret here
    anomaly = false                   # true: what is strange beside earlier runs makes incidents one level graver

    [env]
    LANG = "C.UTF-8"

Nothing is inherited: what a profile allows stands in its one file. Paths of the host are absolute, so that a profile
means the same wherever it is used from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from cloche import settings, units
from cloche.errors import SpecError
from cloche.files.access import PathPermissions
from cloche.monitor import OFF, Monitor
from cloche.policy import Limits, Mount, Network, Policy, Workspace
from cloche.request import environment, limits_from
from cloche.rules.ruleset import NONE, Rules
from cloche.toml_text import table_lines, written

KIND: Final = "profile"
SUMMARY_MAX: Final = 200
MOUNTS_MAX: Final = 256
_T = TypeVar("_T")
_MUST: Final = ("name", "summary", "isolation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A named, complete policy: all that a sandbox of one kind is allowed. ``source`` says where it came from."""

    name: str
    summary: str
    policy: Policy
    env: Mapping[str, str] = field(default_factory=dict)
    lifetime: float | None = None
    idle_timeout: float | None = None
    source: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        put = partial(object.__setattr__, self)
        units.identifier(self.name, "profile name")
        what = f"profile {self.name!r}"
        summary = units.text(self.summary, f"{what}: summary", most=SUMMARY_MAX)
        if not summary.strip() or not summary.isprintable():
            raise SpecError(f"{what}: summary: one line of text is needed, not {units.shown(summary)}")
        if not isinstance(self.policy, Policy):
            raise SpecError(f"{what}: policy: a cloche.Policy is needed, not {units.shown(self.policy)}")
        put("env", MappingProxyType(environment(self.env)))
        for name in ("lifetime", "idle_timeout"):
            value = getattr(self, name)
            put(name, None if value is None else units.duration(value, f"{what}: {name}"))

    @classmethod
    def read(cls, path: str | Path) -> Profile:
        """Give the profile in a file that the caller names. Raises ``SpecError`` naming file, table and key."""
        return read(Path(units.text(str(path), KIND)), found=False)

    @classmethod
    def parse(cls, text: str, *, where: str = KIND) -> Profile:
        """Give the profile that ``text`` holds; errors begin with ``where``. Raises ``SpecError``."""
        return _from_table(settings.parse(text, where), where)

    def around(
        self, env: Mapping[str, str] | None, *, lifetime: float | str | None, idle_timeout: float | str | None
    ) -> tuple[Mapping[str, str], float | None, float | None]:
        """Give variables and deadlines of a sandbox with this profile: the caller's over the profile's."""
        life = self.lifetime if lifetime is None else units.duration(lifetime, "lifetime")
        idle = self.idle_timeout if idle_timeout is None else units.duration(idle_timeout, "idle_timeout")
        if idle_timeout is None and idle is not None and life is not None:
            idle = min(idle, life)  # of the two the caller named one, and that must not make them contradict
        return {**self.env, **environment(env)}, life, idle

    def to_toml(self) -> str:
        """Give the profile as TOML: ``Profile.parse`` makes an equal one of it.

        Raises ``SpecError`` for one that is too long for a file of profiles, or has rules that no plugin brings.
        """
        if self.policy.monitor.rules:
            raise SpecError(f"profile {self.name!r}: rules of its monitor can't be written; give them when creating")
        text = "\n".join(_lines(self)) + "\n"
        if len(text.encode()) > settings.FILE_MAX or max(map(len, text.split("\n"))) > settings.LINE_MAX:
            raise SpecError(
                f"profile {self.name!r} is too long to be written: at most {settings.FILE_MAX} bytes, and "
                f"{settings.LINE_MAX} characters a line"
            )
        return text


def read(path: Path, *, found: bool) -> Profile:
    """Give the profile in a file; ``found`` as in ``settings.read``. Raises ``SpecError`` with file, table and key."""
    return _from_table(settings.parse(settings.read(path, KIND, found=found), str(path)), str(path))


# -- from TOML ----------------------------------------------------------------------------------------------------


def _from_table(table: dict[str, Any], where: str) -> Profile:
    for key in table:
        if key not in _READ and key not in _MUST:
            raise SpecError(f"{where}: unknown key {key!r}; known are {', '.join((*_MUST, *_READ))}")
    for key in _MUST:
        if key not in table:
            raise SpecError(f"{where}: the key {key!r} is missing; a profile has a name, a summary and an isolation")
    values = {key: _READ[key](value, f"{where}: {key}") for key, value in table.items() if key in _READ}
    own = {key: values.pop(key) for key in ("env", "lifetime", "idle_timeout") if key in values}
    try:
        policy = Policy(isolation=table["isolation"], **values)
        return Profile(name=table["name"], summary=table["summary"], policy=policy, source=where, **own)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None


def _strings(value: object, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise SpecError(f"{what}: a list of texts is needed, not {units.shown(value)}")
    return tuple(value)


def _network(value: Any, what: str) -> Network:  # noqa: ANN401 - whatever stood in the file
    return _made(lambda: Network(value), what)


def _limits(value: object, what: str) -> Limits:
    return _made(lambda: limits_from(settings.table(value, what)), what)


def _workspace(value: object, what: str) -> Workspace:
    return _of(Workspace, value, what)


def _paths(value: object, what: str) -> PathPermissions:
    table = settings.table(value, what)
    return _of(PathPermissions, {key: _strings(own, f"{what}.{key}") for key, own in table.items()}, what)


def _monitor(value: Any, what: str) -> Monitor:  # noqa: ANN401 - whatever stood in the file
    return _made(lambda: Monitor.of(value), what)


def _rules(value: Any, what: str) -> Rules:  # noqa: ANN401 - whatever stood in the file
    return _made(lambda: Rules.of(value), what)


def _mounts(value: object, what: str) -> tuple[Mount, ...]:
    if not isinstance(value, list) or len(value) > MOUNTS_MAX:
        raise SpecError(f"{what}: tables [[mounts]] are needed, at most {MOUNTS_MAX}, not {units.shown(value)}")
    return tuple(_of(Mount, one, f"{what}[{index}]") for index, one in enumerate(value))


def _variables(value: object, what: str) -> dict[str, str]:
    table = settings.table(value, what)
    for name, text in table.items():
        if not isinstance(text, str):
            raise SpecError(f"{what}.{name}: text is needed, not {units.shown(text)}")
    return table


def _duration(value: Any, what: str) -> float:  # noqa: ANN401 - whatever stood in the file
    return units.duration(value, what)


_READ: Final[Mapping[str, Callable[[Any, str], Any]]] = MappingProxyType({
    "require": _strings,
    "network": _network,
    "forbidden": _strings,
    "lifetime": _duration,
    "idle_timeout": _duration,
    "limits": _limits,
    "workspace": _workspace,
    "mounts": _mounts,
    "paths": _paths,
    "monitor": _monitor,
    "rules": _rules,
    "env": _variables,
})  # fmt: skip


def _of(kind: type[_T], value: object, what: str) -> _T:
    """Give an object of a value class from a table with its fields as keys."""
    table = settings.table(value, what)
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise SpecError(f"{what}: unknown key {key!r}; known are {', '.join(known)}")
    source = table.get("source")
    if isinstance(source, str) and not source.startswith("/"):
        raise SpecError(f"{what}.source: {units.shown(source)} must be an absolute path of the host")
    return _made(lambda: kind(**table), what)


def _made(make: Callable[[], _T], what: str) -> _T:
    """Give what ``make`` gives; its errors are told with file, table and key."""
    try:
        return make()
    except SpecError as error:
        file, _, key = what.rpartition(": ")
        said = str(error).startswith((f"{key}:", f"{key}."))
        raise SpecError(f"{file if said else what}: {error}") from None
    except TypeError as error:  # a key without a default is missing; the message names it
        raise SpecError(f"{what}: {str(error).partition('() ')[2] or error}") from None


# -- to TOML ------------------------------------------------------------------------------------------------------


def _lines(profile: Profile) -> list[str]:
    policy = profile.policy
    top: dict[str, object] = {"name": profile.name, "summary": profile.summary, "isolation": policy.isolation}
    top |= {} if policy.network is None else {"network": policy.network.mode}
    top |= {"require": sorted(policy.require)} if policy.require else {}
    top |= {"forbidden": list(policy.forbidden)} if policy.forbidden else {}
    top |= {key: value for key in ("lifetime", "idle_timeout") if (value := getattr(profile, key)) is not None}
    out = [f"{key} = {written(value)}" for key, value in top.items()]
    out += table_lines("[limits]", asdict(policy.limits)) + table_lines("[workspace]", asdict(policy.workspace))
    out += table_lines("[paths]", {key: value for key, value in asdict(policy.paths).items() if value})
    out += table_lines("[monitor]", policy.monitor.as_plain()) if policy.monitor != OFF else []
    out += table_lines("[rules]", {"use": policy.rules.use, **policy.rules.as_plain()}) if policy.rules != NONE else []
    for mount in policy.mounts:
        out += table_lines("[[mounts]]", asdict(mount))
    return out + table_lines("[env]", dict(profile.env))
