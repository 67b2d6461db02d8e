"""What hypothesis makes policies, bounds and profiles from, and an order over policies written by itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

from cloche import (
    Act,
    Guarantee,
    IsolationLevel,
    Limits,
    Monitor,
    Mount,
    Network,
    PathPermissions,
    Policy,
    Rule,
    Rules,
    Severity,
    Workspace,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_G: Final = Guarantee
_OPEN: Final = Limits(memory="2G", cpu=2, pids=512, open_files=4096, file_size="1G", output="64M", wall="15m")
_TIGHT: Final = Limits(memory="256M", cpu=1, pids=32, open_files=256, file_size="32M", output="4M", wall=60)
LEVELS: Final[Mapping[str, IsolationLevel]] = {
    level.name: level
    for level in (
        IsolationLevel(
            name="wide", summary="w", guarantees=frozenset({_G.PROCESS}), limits=_OPEN, syscalls="standard",
            networks=frozenset({"none", "loopback", "isolated", "host"}), overload="count",
            auto_block=Severity.CRITICAL,
        ),
        IsolationLevel(
            name="middle", summary="m", guarantees=frozenset({_G.PROCESS, _G.NETWORK}), limits=_OPEN,
            syscalls="enhanced", network=Network("loopback"), auto_block=Severity.HIGH,
        ),
        # Guarantees more than wide, but its default limits are larger, and there is one more.
        IsolationLevel(
            name="roomy", summary="r", guarantees=frozenset({_G.PROCESS, _G.NETWORK}), syscalls="enhanced",
            limits=Limits(
                memory="8G", cpu=8, pids=9999, open_files=9999, file_size="8G", output="1G", disk="1G", wall=math.inf
            ),
        ),
        IsolationLevel(
            name="narrow", summary="n", guarantees=frozenset({_G.PROCESS, _G.NETWORK, _G.SYSCALLS}), limits=_TIGHT,
            syscalls="maximum", networks=frozenset({"none"}), workspaces=frozenset({"tmpfs", "overlay"}),
            minimal_proc=True, path_rules=True, auto_block=Severity.MEDIUM, auto_terminate=Severity.HIGH,
        ),
        IsolationLevel(  # keeps what no other does, but not what they do
            name="aside", summary="a", guarantees=frozenset({_G.DISK}), limits=_TIGHT, syscalls="standard",
        ),
    )
}  # fmt: skip
NETWORKS: Final = ("none", "loopback", "isolated", "host")
_FILTERS: Final = ("standard", "enhanced", "maximum")
_KINDS: Final = ("tmpfs", "image", "overlay", "bind")

sizes = st.integers(4 << 20, 1 << 40)
limits = st.builds(
    Limits,
    memory=st.none() | sizes,
    cpu=st.none() | st.floats(0.01, 4096),
    pids=st.none() | st.integers(1, 1 << 20),
    open_files=st.none() | st.integers(8, 1 << 20),
    file_size=st.none() | sizes,
    disk=st.none() | sizes,
    files=st.none() | st.integers(16, 1 << 30),
    output=st.none() | st.integers(0, 1 << 40),
    wall=st.none() | st.floats(0.001, 1e9) | st.just(math.inf),
)
guarantees = st.frozensets(st.sampled_from(list(Guarantee)), max_size=4)
networks = st.builds(Network, st.sampled_from(NETWORKS))
workspaces = st.one_of(
    st.builds(Workspace),
    st.builds(Workspace, st.sampled_from(["overlay", "bind"]), st.just("/srv/work"), st.just("/workspace")),
)
_TARGETS: Final = ("/data", "/data/inner", "/workspace/lib", "/opt/tool")
mounts = st.lists(
    st.builds(
        lambda target, source, allowed: Mount(source, target, read_only=not allowed & {"write"}, operations=allowed),
        st.sampled_from(_TARGETS),
        st.sampled_from(["/srv/a", "/srv/b"]),
        st.sampled_from([
            frozenset({"read"}), frozenset({"read", "list", "stat"}), frozenset({"read", "write"}),
            frozenset({"read", "write", "list", "stat", "create", "delete"}),
        ]),
    ),
    max_size=4,
    unique_by=lambda mount: mount.target,
).map(tuple)  # fmt: skip
_PATTERNS: Final = ("/data/x", "/data/**", "/workspace", "/workspace/*.py", "/etc/passwd", "/opt/tool/bin")
patterns = st.lists(st.sampled_from(_PATTERNS), max_size=3, unique=True).map(tuple)
hidden = st.lists(st.sampled_from(["/etc/passwd", "/usr/share/secret", "/workspace/*.key"]), max_size=2, unique=True)
permissions = st.builds(PathPermissions, allowed=patterns, read_only=patterns, forbidden=hidden.map(tuple))
acts = st.none() | st.frozensets(st.sampled_from([Act.EXEC, Act.CONNECT, Act.UNLINK]), max_size=2)
monitors = st.builds(
    Monitor,
    depth=st.sampled_from(["writes", "full", "strict"]),
    acts=acts,
    resolve=st.booleans(),
    overload=st.sampled_from([None, "count", "wait"]),
    ring=st.sampled_from([1 << 16, 1 << 20]),
    sources=st.frozensets(st.sampled_from(["audit", "taps"]), max_size=1),
)
RULES: Final[Mapping[str, Rule]] = {
    rule.id: rule
    for rule in (
        Rule(id="a", summary="a", severity=Severity.LOW, events=frozenset({Act.EXEC})),
        Rule(id="net-1", summary="n", severity=Severity.HIGH, events=frozenset({Act.EXEC}), tags=frozenset({"net"})),
        Rule(id="net-2", summary="n", severity=Severity.LOW, events=frozenset({Act.EXEC}), tags=frozenset({"net"})),
        Rule(id="odd", summary="o", severity=Severity.LOW, events=frozenset({Act.EXEC}), enabled=False),
    )
}
_CHOSEN: Final = ("*", "a", "net-1", "net-2", "net-*", "tag:net", "odd")
some_rules = st.lists(st.sampled_from(_CHOSEN), max_size=3, unique=True).map(tuple)
thresholds = st.sampled_from([None, "never", *Severity])
rules = st.builds(
    Rules,
    use=some_rules,
    without=some_rules,
    auto_block=thresholds,
    auto_suspend=thresholds,
    auto_terminate=thresholds,
    audit=st.booleans(),
    sensitive=st.lists(st.sampled_from(["/data/*.key", "/workspace/.env"]), max_size=2, unique=True).map(tuple),
)
policies = st.builds(
    Policy,
    isolation=st.sampled_from(["wide", "middle", "roomy"]),
    require=guarantees,
    network=st.none() | networks,
    limits=limits,
    workspace=workspaces,
    mounts=mounts,
    forbidden=hidden.map(tuple),
    paths=permissions,
    monitor=st.just(Monitor("off")) | monitors,
    rules=st.just(Rules.of("off")) | rules,
)


@st.composite
def bounds(draw: st.DrawFn, policy: Policy | None = None, *, free: bool = False) -> dict[str, Any]:
    """Give keywords of ``restrict``; ``free``: without mounts and paths, which may be refused."""
    named: dict[str, st.SearchStrategy[Any]] = {
        "isolation": st.sampled_from(["wide", "middle", "narrow"] if free else sorted(LEVELS)),
        "require": guarantees,
        "network": networks | st.sampled_from(NETWORKS),
        "limits": limits,
        "workspace": st.sampled_from(_KINDS),
        "forbidden": hidden,
        "monitor": monitors | st.sampled_from(["off", "writes", "full", "strict"]),
        "rules": rules | st.sampled_from(["off", "on", "audit"]),
    }
    if not free:
        own = () if policy is None else policy.mounts
        named["mounts"] = mounts | st.lists(st.sampled_from(own), unique=True) if own else mounts
        named["paths"] = permissions
    keys = draw(st.lists(st.sampled_from(sorted(named)), unique=True))
    return {key: draw(named[key]) for key in keys}


def wider(q: Policy, p: Policy) -> list[str]:  # noqa: C901 - a list of questions, each by itself
    """Give in which ways ``q`` allows something that ``p`` does not; empty if it is as narrow or narrower.

    Written from what each field means, with nothing of the code under test: what a guest under ``q`` could do and
    one under ``p`` could not.
    """
    lq, lp = LEVELS[q.isolation], LEVELS[p.isolation]
    out: list[str] = []
    if not lq.guarantees | q.require >= lp.guarantees | p.require:
        out.append("guarantees")
    if _FILTERS.index(lq.syscalls) < _FILTERS.index(lp.syscalls) or lq.minimal_proc < lp.minimal_proc:
        out.append("level")
    if NETWORKS.index((q.network or lq.network).mode) > NETWORKS.index((p.network or lp.network).mode):
        out.append("network")
    fq, fp = q.limits.over(lq.limits), p.limits.over(lp.limits)
    counted = ("memory", "cpu", "pids", "open_files", "file_size", "output", "wall")
    out += [name for name in counted if getattr(fq, name) > getattr(fp, name)]
    room_q, room_p = (f.memory if f.disk is None else f.disk for f in (fq, fp))
    if (room_q or 0) > (room_p or 0):
        out.append("disk")
    many_q, many_p = (f.files or max(64, (room >> 20) * 256) for f, room in ((fq, room_q or 0), (fp, room_p or 0)))
    if many_q > many_p:
        out.append("files")
    kind_q, kind_p = _KINDS.index(q.workspace.kind), _KINDS.index(p.workspace.kind)
    if kind_q > kind_p or (kind_q > 1 and q.workspace.source != p.workspace.source):
        out.append("workspace")
    theirs = {(m.source, m.target): m.allows for m in p.mounts}
    if any(not m.allows <= theirs.get((m.source, m.target), frozenset()) for m in q.mounts):
        out.append("mounts")
    # What a mount hid is seen when it goes: a part of a folder of the host that is still there.
    folders = [m.target for m in q.mounts] + ([q.workspace.target] if kind_q > 1 else [])
    gone = {m.target for m in p.mounts} - {m.target for m in q.mounts}
    if any(target.startswith(folder + "/") for target in gone for folder in folders):
        out.append("uncovered")
    if not set(q.permissions().forbidden) >= set(p.permissions().forbidden):
        out.append("forbidden")
    if not set(q.paths.read_only) >= set(p.paths.read_only):
        out.append("read_only")
    if p.paths.allowed and not (q.paths.allowed and all(_covered(a, p.paths.allowed) for a in q.paths.allowed)):
        out.append("allowed")
    return out + (["monitor"] if _sees_less(q, p) else []) + (["rules"] if _judges_less(q, p) else [])


def _sees_less(q: Policy, p: Policy) -> bool:
    """Whether something that is told under ``p`` is not under ``q``, or lost where it was waited for."""
    depths = ("off", "writes", "full", "strict")
    one, two = q.monitor, p.monitor
    waits = [monitor.overload or LEVELS[of.isolation].overload for monitor, of in ((one, q), (two, p))]
    return (
        depths.index(one.depth) < depths.index(two.depth)
        or not one.told >= two.told
        or one.resolve < two.resolve
        or one.ring < two.ring
        or not one.sources >= two.sources
        or (bool(two) and waits == ["count", "wait"])
    )


def _judges_less(q: Policy, p: Policy) -> bool:
    """Whether something that is found, or answered, under ``p`` is not under ``q``."""
    one, two = q.rules, p.rules
    if not two.use:
        return False

    def from_on(rules: Rules, policy: Policy, name: str) -> float:
        at = getattr(rules, name)
        at = getattr(LEVELS[policy.isolation], name) if at is None else at
        return math.inf if at == "never" else float(at)

    return (
        not {rule.id for rule in one.chosen(RULES)} >= {rule.id for rule in two.chosen(RULES)}
        or any(
            from_on(one, q, name) > from_on(two, p, name) for name in ("auto_block", "auto_suspend", "auto_terminate")
        )
        or (one.audit and not two.audit)
        or not set(one.sensitive) >= set(two.sensitive)
    )


def _covered(pattern: str, by: tuple[str, ...]) -> bool:
    """Whether all that ``pattern`` covers is covered by one of ``by``, told by the few shapes used here."""
    plain = [other.removesuffix("/**") for other in by]
    if any(pattern == other or pattern.startswith(other + "/") for other in plain if "*" not in other):
        return True
    return pattern in by
