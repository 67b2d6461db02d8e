"""What each comparison means of an event, and what values become in one sandbox."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from cloche import Event, EventBatch, EventFlag, SpecError
from cloche.incidents.match import ProcessFacts
from cloche.rules.condition import ALWAYS, AnyOf, Compare, Condition, F
from cloche.rules.filling import filled, native_pattern
from cloche.rules.holds import holds
from cloche.rules.surroundings import Surroundings
from cloche_native import events, paths

HERE = Surroundings(
    home="/home/[me]", workspace="/w", writable=("/w", "/tmp"), sensitive=("/**/*.pem", "/k[*]y"), read_only=("/ro",)
)


def event(act: str = "open", **parts: Any) -> Event:  # noqa: ANN401 - parts of any record
    (one,) = EventBatch(events.pack(act=act, **parts))
    return one


def says(condition: Condition, one: Event) -> bool:
    """Hold the condition and its negation to each other."""
    found = holds(condition, one, HERE)
    assert holds(~condition, one, HERE) is not found
    return found


SHADOW = event(path=b"/w/../etc/./shadow", resolved=b"/etc/shadow", args=(0o2, 0o6755, 0), pid=7)
LINK = event("symlink", path=b"/w/link", target=b"../etc/shadow")
RUN = event("exec", path=b"/bin/sh", target=b"sh\0-c\0nc -e sh\0", pid=1)


@pytest.mark.parametrize(
    ("condition", "one", "expected"),
    [
        (F.file == "/etc//shadow", SHADOW, True),
        (F.path == "/etc/shadow", SHADOW, True),
        (F.path.contains(".."), SHADOW, False),
        (F.resolved == "", SHADOW, False),
        (F.file.startswith("/et"), SHADOW, True),
        (F.file.endswith("hadow"), SHADOW, True),
        (F.file.contains("c/s"), SHADOW, True),
        (F.file.icontains("C/SH"), SHADOW, True),
        (F.file.under("/etc"), SHADOW, True),
        (F.file.under("/etc/shadow/"), SHADOW, True),
        (F.file.under("/et"), SHADOW, False),
        (F.file.glob("/etc/s*"), SHADOW, True),
        (F.file.glob("**/shadow"), SHADOW, True),
        (F.name == "shadow", SHADOW, True),
        (F.name.glob("sh?d[!x]w"), SHADOW, True),
        (F.name.startswith("/etc"), SHADOW, False),
        (F.name == "", event(path=b"/"), False),
        (F.name.exists(), event(path=b"/"), False),
        (F.file == "tmpfs", event("mount", path=b"tmpfs", target=b"/mnt"), True),
        (F.target == "/etc/shadow", LINK, True),
        (F.to.under("/etc"), LINK, True),
        (F.to.exists(), SHADOW, False),
        (F.to.exists(), RUN, False),
        (F.target.glob("/**"), RUN, False),
        (F.to.under("/run"), event("connect", target=b"/run/docker.sock"), True),
        (F.argv == "-c", RUN, True),
        (F.argv == "nc", RUN, False),
        (F.argv == "", event("exec", target=b"sh\0\0"), True),
        (F.argv == "", RUN, False),
        (F.argv.contains("c -e"), RUN, True),
        (F.argv.startswith("nc"), RUN, True),
        (F.argv.glob("nc*sh"), RUN, True),
        (F.argv.contains("sh -c"), RUN, False),
        (F.cmdline == "sh -c nc -e sh", RUN, True),
        (F.cmdline.contains("sh -c nc"), RUN, True),
        (F.cmdline.endswith("-e sh"), RUN, True),
        (F.cmdline.glob("*nc *-e*"), RUN, True),
        (F.cmdline.matches(r"\bnc\b.*-e"), RUN, True),
        (F.cmdline.matches(r"^nc"), RUN, False),
        (F.cmdline.exists(), SHADOW, False),
        (F.env.exists(), RUN, False),
        (F.address == "192.0.2.1", event("connect", target=b"192.0.2.1"), True),
        (F.address.exists(), RUN, False),
        (F.attribute == "security.capability", event("xattr", path=b"/w/a", target=b"security.capability"), True),
        (F.flags == 2, SHADOW, True),
        (F.mode.has(0o4000, 1 << 40), SHADOW, True),
        (F.mode.has(0), SHADOW, False),
        (F.mode >= 0o6755, SHADOW, True),
        (F.mode < 0o6755, SHADOW, False),
        (F.mode == 0, RUN, False),
        (F.mode.exists(), RUN, False),
        (F.arg3 == 0, RUN, True),
        (F.first == -1, event("setid", args=(-1,)), True),
        (F.first < 0, event("setid", args=(-1,)), True),
        (F.first == 1 << 64 - 1, event("setid", args=(-(1 << 63),)), True),
        (F.result == 0, SHADOW, False),
        (F.result.exists(), SHADOW, False),
        (F.result == -errno.EPERM, event(result=-1, flags=EventFlag.RESULT), True),
        (F.pid == 7, SHADOW, True),
        (F.tid == 0, SHADOW, True),
        (F.tid.exists(), SHADOW, False),
        (F.flag("climbs"), event(flags=EventFlag.CLIMBS), True),
        (F.climbs == 0, SHADOW, True),
        (~F.climbs & (F.pid == 7) & ~F.denied, SHADOW, True),
        (F.climbs | (F.pid == 8) | F.denied, SHADOW, False),
        (F.source.one_of("guest", "files"), SHADOW, True),
        (F.call.exists(), SHADOW, False),
        (ALWAYS, SHADOW, True),
        (AnyOf(()), SHADOW, False),
        ((F.pid == 7) & (F.name == "no") | (F.name == "shadow"), SHADOW, True),
        (F["process.name"] == "sh", SHADOW, False),
    ],
)
def test_a_comparison_means_what_the_docs_say(condition: Condition, one: Event, expected: bool) -> None:  # noqa: FBT001
    assert says(condition, one) is expected


def test_what_is_known_of_processes_is_compared_and_what_is_not_is_absent() -> None:
    shell = ProcessFacts(pid=3, exe="/bin/bash", args=("bash", "-i"))
    asked = (F["process.name"] == "bash") & F["process.cmdline"].contains("h -i") & (F["parent.name"] == "nginx")
    above = (ProcessFacts(pid=2, exe="/usr/sbin/nginx"), ProcessFacts(pid=1))
    assert holds(asked & (F.ancestors == "nginx"), SHADOW, HERE, shell, above)
    assert not holds(asked, SHADOW, HERE, shell, above[1:])
    assert not holds(F.ancestors.exists(), SHADOW, HERE, shell, above[1:])


@pytest.mark.parametrize(
    ("asked", "values"),
    [
        (F.file.under("${workspace}"), ("/w/**",)),
        (F.file.under("${writable}/.git"), ("/w/.git/**", "/tmp/.git/**")),
        (F.file.under("${home}/.ssh/"), (r"/home/\[me\]/.ssh/**",)),
        (F.file.glob("${home}/*"), (r"/home/\[me\]/*",)),
        (F.file == "${home}/a", ("/home/[me]/a",)),
        (F.file.glob("${sensitive}"), ("/**/*.pem", "/k[*]y")),
        (F.file.under("${sensitive}"), ("/**/*.pem/**", "/k[*]y/**")),
        (F.file.under("${read_only}"), ("/ro/**",)),
        (F.file.under("${mounted}"), ()),
        (F.file.under("${mounted}", "/a"), ("/a/**",)),
        (F.cmdline.matches("${home}/x$"), (r"/home/\[me\]/x$",)),
        (F.cmdline.contains("$${IFS}"), ("${IFS}",)),
        (F.cmdline.contains("$HOME"), ("$HOME",)),
        (F.name.glob("*.pem"), ("**/*.pem",)),
    ],
)
def test_names_of_surroundings_are_filled_in(asked: Condition, values: tuple[str, ...]) -> None:
    assert filled_in(asked, HERE) == values


def filled_in(asked: Condition, around: Surroundings) -> tuple[str | int, ...]:
    assert isinstance(asked, Compare)
    return filled(asked, around)


def test_a_name_that_stands_for_nothing_makes_a_comparison_that_never_holds() -> None:
    assert not says(F.file.under("${mounted}"), SHADOW)
    assert not says(F.cmdline.contains("${mounted}"), RUN)
    assert not says(F.file.glob("${mounted}/**"), SHADOW)


def test_a_home_that_is_the_root_folder_makes_plain_paths() -> None:
    assert filled_in(F.file.glob("${home}/.ssh/*"), Surroundings(home="/")) == ("/.ssh/*",)
    assert filled_in(F.file.under("${home}"), Surroundings(home="/")) == ("/**",)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (F.file.under("${nothing}"), "stands for nothing"),
        (F.file.under("${over}"), "stands for nothing"),
        (F.cmdline.contains("${IFS"), "stands for nothing"),
        (F.file == "${sensitive}", "use glob or under"),
        (F.file.under("etc"), "begins with '/'"),
        (F.file.glob("etc"), "begins neither"),
        (F.file.glob("/a**"), "within a component"),
        (F.name.under("/etc"), "under nothing"),
        (F.name.glob("a/b"), "one component"),
        (F.name.glob("**"), "one component"),
        (F.cmdline.glob("[a"), "no end"),
        (F.cmdline.glob("[b-a]"), "backwards"),
        (F.cmdline.glob("[]"), "no byte"),
        (F.cmdline.glob("a\\"), "backslash"),
    ],
)
def test_a_value_that_means_nothing_is_an_error(asked: Condition, reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        holds(asked, RUN if "cmdline" in str(asked) else SHADOW, HERE)


def test_too_many_values_are_an_error() -> None:
    many = Surroundings(writable=tuple(f"/w{n}" for n in range(100)))
    with pytest.raises(SpecError, match="over 4096 values"):
        filled_in(F.file.glob("${writable}${writable}"), many)


@pytest.mark.parametrize(
    ("glob", "path", "matched"),
    [("/a[]]", b"/a]", True), ("/a[^b-d]", b"/ax", True), ("/a[^b-d]", b"/ac", False), ("/\\", b"/\\", True)],
)
def test_a_policys_pattern_is_the_same_to_rules(glob: str, path: bytes, matched: bool) -> None:  # noqa: FBT001
    pattern = native_pattern(glob, "x").encode()
    assert bool(paths.Patterns([(pattern, 0)], sets=1).match(path)) is matched


def test_a_glob_of_stars_on_a_long_text_takes_no_time() -> None:
    text = b"a" * 4000 + b"\0"
    assert not says(F.cmdline.glob("*a" * 1000 + "b"), event("exec", target=text))
    assert says(F.cmdline.glob("*a?" * 1000 + "*"), event("exec", target=text))
