"""Profiles: read strictly, written back equal, found in an order nobody can use to replace one."""

from __future__ import annotations

import os
import re
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import cloche_profiles
from cloche import (
    Act,
    Config,
    Guarantee,
    Host,
    Limits,
    Monitor,
    Mount,
    Network,
    PathPermissions,
    Plugins,
    Policy,
    Profile,
    Profiles,
    Rule,
    Rules,
    Severity,
    SpecError,
    Workspace,
    hookimpl,
    settings,
)
from cloche.settings import FILE_MAX, LINE_MAX
from tests.unit.profiled import policies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloche.testing import FakeRuntime

HEAD = 'name = "one"\nsummary = "for tests"\nisolation = "enhanced"\n'
WHOLE = """
name = "whole"
summary = "every key there is"
isolation = "maximum"
network = "none"
require = ["kernel", "pids"]
forbidden = ["/usr/share/secret"]
lifetime = "1h"
idle_timeout = 30

[monitor]
depth = "strict"
acts = ["exec", "write-open"]
resolve = false
overload = "count"
ring = 65536
sources = ["audit"]

[limits]
memory = "512M"
cpu = 0.5
pids = 9
open_files = 64
file_size = "1M"
disk = 1048576
output = 0
wall = inf

[workspace]
kind = "overlay"
source = "/srv/work"
target = "/work"

[[mounts]]
source = "/srv/a"
target = "/a"

[[mounts]]
source = "/srv/b"
target = "/b"
operations = ["read", "write"]

[paths]
read_only = ["/work/*.lock"]

[rules]
without = ["tag:network"]
auto_block = "medium"
auto_suspend = "never"
sensitive = ["/work/*.key"]

[env]
LANG = "C"
"odd name" = "é\\u0001\\""
"""


def test_a_file_says_everything_a_policy_can(tmp_path: Path) -> None:
    path = tmp_path / "whole.toml"
    path.write_text(WHOLE)
    profile = Profile.read(path)
    assert profile == Profile.read(str(path)) == Profile.parse(WHOLE)
    assert profile.policy == Policy(
        isolation="maximum",
        require=frozenset({Guarantee.KERNEL, Guarantee.PIDS}),
        network=Network("none"),
        limits=Limits(
            memory="512M", cpu=0.5, pids=9, open_files=64, file_size="1M", disk="1M", output=0, wall=float("inf")
        ),
        workspace=Workspace("overlay", "/srv/work", "/work"),
        mounts=(Mount("/srv/a", "/a"), Mount("/srv/b", "/b", operations=frozenset({"read", "write"}), read_only=False)),
        forbidden=("/usr/share/secret",),
        paths=PathPermissions(read_only=("/work/*.lock",)),
        monitor=Monitor(
            "strict", acts=frozenset({Act.EXEC, Act.WRITE_OPEN}), resolve=False, overload="count", ring=1 << 16,
            sources=frozenset({"audit"}),
        ),
        rules=Rules(
            without=("tag:network",), auto_block=Severity.MEDIUM, auto_suspend="never", sensitive=("/work/*.key",)
        ),
    )  # fmt: skip
    assert (profile.lifetime, profile.idle_timeout) == (3600, 30)
    assert profile.env == {"LANG": "C", "odd name": 'é\x01"'}
    assert profile.source == str(path)


def test_what_is_left_out_is_left_to_the_level() -> None:
    profile = Profile.parse(HEAD)
    assert profile.policy == Policy(isolation="enhanced")
    assert (profile.env, profile.lifetime, profile.idle_timeout) == ({}, None, None)


def test_a_profile_can_not_be_changed() -> None:
    profile = Profile.parse(HEAD)
    with pytest.raises(FrozenInstanceError):
        profile.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        profile.env["A"] = "b"  # type: ignore[index]


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", fullmatch=True)
plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=100)
variables = st.dictionaries(plain.filter(lambda name: name and "=" not in name), plain, max_size=3)
durations = st.none() | st.floats(0.001, 1e9)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(names, policies, variables, durations, durations)
@example("a", Policy(), {"A\x7f\\\"'\n\r\t\u2028🙂": "\x01\x85'''\"\"\""}, 0.1, None)
def test_a_profile_written_and_read_again_is_equal(
    name: str, policy: Policy, env: dict[str, str], life: float | None, idle: float | None
) -> None:
    profile = Profile(name=name, summary="for tests", policy=policy, env=env, lifetime=life, idle_timeout=idle)
    assert Profile.parse(profile.to_toml()) == profile


def test_rules_can_stand_in_one_word_and_only_by_name() -> None:
    assert Profile.parse(HEAD + "rules = 'audit'").policy.rules == Rules(audit=True)
    assert Profile.parse(HEAD + "rules = 'off'").policy.rules == Rules(use=())
    own = Rule(id="own", summary="o", severity=Severity.LOW, events=frozenset({Act.EXEC}))
    profile = replace(Profile.parse(HEAD), policy=Policy(rules=Rules(use=("*", own))))
    with pytest.raises(SpecError, match="rule 'own' itself can't be written down; name one that a plugin brings"):
        profile.to_toml()


@pytest.mark.parametrize(
    ("env", "message"), [({"A": "x" * LINE_MAX}, "too long to be written"), ({"A": "\udc80"}, "not valid UTF-8")]
)
def test_what_no_file_could_hold_is_not_written(env: dict[str, str], message: str) -> None:
    profile = replace(Profile.parse(HEAD), env=env)
    with pytest.raises(SpecError, match=message):
        profile.to_toml()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.toml: the key 'name' is missing"),
        ('name = "a"', "f.toml: the key 'summary' is missing"),
        ('name = "a"\nsummary = "b"', "f.toml: the key 'isolation' is missing"),
        (HEAD.replace('"one"', "1"), "f.toml: profile name: 1 is not a name"),
        (HEAD.replace('"one"', '"../one"'), "f.toml: profile name: '../one' is not a name"),
        (HEAD.replace('"for tests"', '""'), "f.toml: profile 'one': summary: one line"),
        (HEAD.replace('"for tests"', '"a\\u001b[2J"'), "summary: one line of text"),
        (HEAD.replace('"for tests"', f'"{"x" * 201}"'), "summary: 201 bytes is too long"),
        (HEAD.replace('"for tests"', "3"), "summary: text is needed"),
        (HEAD.replace('"enhanced"', "[]"), "f.toml: isolation: [] is not a name"),
        (HEAD + "memory = 3", "f.toml: unknown key 'memory'; known are name, summary, isolation, require"),
        (HEAD + "base = 'x'", "unknown key 'base'"),
        (HEAD + "network = 'internet'", "f.toml: network: 'internet' is unknown"),
        (HEAD + "network = ['none']", "f.toml: network: ['none'] is unknown"),
        (HEAD + "require = 'kernel'", "f.toml: require: a list of texts"),
        (HEAD + "require = ['kernal']", "f.toml: require: 'kernal' is not a valid Guarantee"),
        (HEAD + "forbidden = [1]", "f.toml: forbidden: a list of texts"),
        (HEAD + "forbidden = ['../x']", "f.toml: forbidden: '../x' must be an absolute path"),
        (HEAD + "forbidden = ['/workspace']", "f.toml: policy contradicts itself"),
        (HEAD + "lifetime = 'long'", "f.toml: lifetime: 'long' is not a duration"),
        (HEAD + "lifetime = true", "f.toml: lifetime: a duration"),
        (HEAD + "idle_timeout = 0", "f.toml: idle_timeout: 0 is out of range"),
        (HEAD + "limits = 3", "f.toml: limits: a table is needed"),
        (HEAD + "limits.memroy = 3", "f.toml: limits: 'memroy' is unknown; known limits are memory"),
        (HEAD + "limits.memory = 'much'", "f.toml: limits.memory: 'much' is not a size"),
        (HEAD + "limits.pids = 2.5", "f.toml: limits.pids: a whole number"),
        (HEAD + "limits.cpu = nan", "f.toml: limits.cpu: nan is out of range"),
        (HEAD + "limits.wall = 1979-05-27", "f.toml: limits.wall: a duration"),
        (HEAD + "monitor = 'everything'", "f.toml: monitor.depth: 'everything' is unknown"),
        (HEAD + "monitor = 3", "f.toml: monitor: a cloche.Monitor or one of off, writes"),
        (HEAD + "monitor.deep = true", "f.toml: monitor: 'deep' is unknown; known are depth"),
        (HEAD + "monitor.acts = ['opn']", "f.toml: monitor.acts: 'opn' is not a valid Act; `cloche events acts`"),
        (HEAD + "rules = 'everything'", "f.toml: rules: a cloche.Rules or one of off, on, audit"),
        (HEAD + "rules = 3", "f.toml: rules: a cloche.Rules or one of"),
        (HEAD + "rules.deep = true", "f.toml: rules: 'deep' is unknown; known are use, without, auto_block"),
        (HEAD + "rules.use = 'a'", "f.toml: rules.use: a sequence"),
        (HEAD + "rules.use = [3]", "f.toml: rules.use: text is needed"),
        (HEAD + "rules.audit = 1", "f.toml: rules.audit is True or False"),
        (HEAD + "rules.auto_block = 40", "f.toml: rules.auto_block: 40 is unknown; use one of info, low"),
        (HEAD + "rules.sensitive = ['x']", "f.toml: rules.sensitive: 'x' must be an absolute"),
        (HEAD + "workspace = '/srv'", "f.toml: workspace: a table is needed"),
        (HEAD + "workspace.kind = 'nfs'", "f.toml: workspace: 'nfs' is unknown"),
        (HEAD + "workspace.kind = ['bind']", "f.toml: workspace: ['bind'] is unknown"),
        (HEAD + "workspace = {kind = 'bind'}", "f.toml: workspace: kind 'bind' needs a source"),
        (HEAD + "workspace = {kind = 'bind', source = '.'}", "f.toml: workspace.source: '.' must be an absolute"),
        (HEAD + "workspace = {kind = 'bind', source = 3}", "f.toml: workspace: workspace source: a path"),
        (HEAD + "workspace.size = 3", "f.toml: workspace: unknown key 'size'; known are kind, source, target"),
        (HEAD + "mounts = {source = '/a'}", "f.toml: mounts: tables [[mounts]] are needed"),
        (HEAD + "mounts = ['/a:/b']", "f.toml: mounts[0]: a table is needed"),
        (HEAD + "[[mounts]]\nsource = '/a'", "f.toml: mounts[0]: missing 1 required positional argument: 'target'"),
        (HEAD + "[[mounts]]\nsource = 'a'\ntarget = '/a'", "f.toml: mounts[0].source: 'a' must be an absolute"),
        (HEAD + "[[mounts]]\nsource = '/a'\ntarget = '/a/../b'", "f.toml: mounts[0]: mount target: '/a/../b'"),
        (HEAD + "[[mounts]]\nsource = '/a'\ntarget = '/a'\nread_only = 1", "read_only is True or False, not 1"),
        (HEAD + "[[mounts]]\nsource = '/a'\ntarget = '/a'\noperations = ['rm']", "'rm' is unknown"),
        (HEAD + "[[mounts]]\nsource = '/a'\ntarget = '/a'\nro = true", "f.toml: mounts[0]: unknown key 'ro'"),
        (HEAD + 2 * "[[mounts]]\nsource = '/a'\ntarget = '/a'\n", "two things are mounted at /a"),
        (HEAD + "[paths]\nallow = []", "f.toml: paths: unknown key 'allow'; known are allowed"),
        (HEAD + "[paths]\nallowed = '/x'", "f.toml: paths.allowed: a list of texts"),
        (HEAD + "[paths]\nallowed = ['x']", "f.toml: paths.allowed: 'x' must be an absolute"),
        (HEAD + "[env]\nA = 1", "f.toml: env.A: text is needed"),
        (HEAD + "[env]\n'A=B' = 'c'", "environment name 'A=B' is empty or holds"),
        (HEAD + '[env]\nA = "\\u0000"', "environment variable A: '\\x00' holds a NUL"),
        (HEAD + "[env]\nA = {B = 'c'}", "f.toml: env.A: text is needed"),
        (HEAD + HEAD, "f.toml: not valid TOML: Cannot overwrite a value (at line 4"),
        ("name = ", "f.toml: not valid TOML: Invalid value (at end of document)"),
        ("a = [[[[", "not valid TOML"),
        ("a = " + "[" * 900, "nested too deeply"),
        ("a = " + "9" * 1000, "unknown key 'a'"),
        ("a." * LINE_MAX + "b = 1", f"f.toml: line 1 is longer than {LINE_MAX}"),
        ("\n" * FILE_MAX + "x", f"longer than {FILE_MAX}"),
    ],
)  # fmt: skip
def test_a_bad_text_is_refused_naming_file_table_and_key(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Profile.parse(text, where="f.toml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("f.toml: ")


@pytest.mark.parametrize(
    ("raw", "message"), [(b"\xff", "not UTF-8: byte 0 is 0xff"), (b"#" * (FILE_MAX + 1), "longer than")]
)
def test_a_bad_file_is_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(raw)
    with pytest.raises(SpecError, match=message):
        Profile.read(path)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "missing", "/dev/zero", "a\0b", "/" + "x" * 300):
        with pytest.raises(SpecError):
            Profile.read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"policy": "enhanced"}, "a cloche.Policy is needed"), ({"env": [1]}, "env: a mapping"),
     ({"lifetime": -1}, "lifetime: -1 is out of range"), ({"name": ""}, "'' is not a name")],
)  # fmt: skip
def test_a_profile_made_in_python_is_checked_too(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        replace(Profile.parse(HEAD), **change)


# -- where they come from -----------------------------------------------------------------------------------------


class Provider:
    def __init__(self, *profiles: object) -> None:
        self._profiles = profiles

    @hookimpl
    def cloche_profiles(self) -> list[Any]:
        return list(self._profiles)


class Second(Provider):
    @hookimpl
    def cloche_profiles(self) -> list[Any]:
        return list(self._profiles)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Profiles]:
    """Give a function that makes the profiles of plugins and of files in the folders ``etc`` and ``own``."""
    monkeypatch.setattr(settings, "SYSTEM_FOLDER", tmp_path / "etc")

    def make(*plugins: object, **files: str) -> Profiles:
        for place, text in files.items():
            folder, name = place.split("_")
            path = tmp_path / ("etc" if folder == "etc" else "config/cloche") / "profiles" / f"{name}.toml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace('"one"', f'"{name}"'))
        loaded = Plugins.load(Config(), plugins=plugins, entry_points=False)
        return Profiles(loaded, environ={"XDG_CONFIG_HOME": str(tmp_path / "config")})

    return make


def test_profiles_come_from_plugins_and_two_folders(places: Callable[..., Profiles], tmp_path: Path) -> None:
    profiles = places(Provider(Profile.parse(HEAD)), etc_system=HEAD, own_mine=HEAD)
    assert list(profiles) == ["mine", "one", "system"]
    assert len(profiles) == 3
    assert profiles["one"].source == "plugin 'Provider' of the program itself"
    assert profiles["system"].source == str(tmp_path / "etc" / "profiles" / "system.toml")
    assert profiles.choose("mine") == profiles["mine"]
    assert profiles.choose(profiles["mine"]) is not None


@pytest.mark.parametrize("files", [{"own_one": HEAD}, {"etc_one": HEAD}, {"own_one": HEAD, "etc_one": HEAD}], ids=str)
def test_a_name_that_is_taken_can_not_be_replaced(places: Callable[..., Profiles], files: dict[str, str]) -> None:
    provided = [Provider(Profile.parse(HEAD))] if len(files) == 1 else []
    profiles = places(*provided, **files)
    with pytest.raises(SpecError, match="the name 'one' is taken twice"):
        profiles["one"]
    assert list(profiles) == ["one"]


def test_of_two_plugins_the_second_can_not_take_a_name() -> None:
    loaded = Plugins.load(
        Config(), plugins=[Provider(Profile.parse(HEAD)), Second(Profile.parse(HEAD))], entry_points=False
    )
    assert list(loaded.profiles) == ["one"]
    assert [record.status for record in loaded.records] == ["loaded", "failed"]
    assert "the profile name 'one' is taken by plugin 'Provider'" in (loaded.records[1].error or "")
    assert loaded.records[0].profiles == ("one",)


def test_a_plugin_that_gives_something_else_fails_alone() -> None:
    loaded = Plugins.load(Config(), plugins=[Provider("one"), Second(Profile.parse(HEAD))], entry_points=False)
    assert loaded.records[0].status == "loaded"  # nobody has asked yet
    assert list(loaded.profiles) == ["one"]
    assert "which is no cloche.Profile" in (loaded.records[0].error or "")


def test_a_file_must_be_named_as_its_profile(places: Callable[..., Profiles], tmp_path: Path) -> None:
    profiles = places(own_one=HEAD)
    (tmp_path / "config/cloche/profiles/one.toml").rename(tmp_path / "config/cloche/profiles/other.toml")
    with pytest.raises(SpecError, match=r"it holds the profile 'one'; name the file one\.toml"):
        profiles["other"]
    assert profiles.choose(tmp_path / "config/cloche/profiles/other.toml").name == "one"  # named outright


def test_a_file_that_was_found_must_be_trusted(places: Callable[..., Profiles], tmp_path: Path) -> None:
    profiles = places(own_one=HEAD)
    path = tmp_path / "config/cloche/profiles/one.toml"
    assert profiles["one"].name == "one"
    path.chmod(0o666)
    with pytest.raises(SpecError, match="this profile is not trusted"):
        profiles["one"]
    assert profiles.choose(path).name == "one"


def test_the_present_folder_is_not_looked_at(
    places: Callable[..., Profiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.toml").write_text(HEAD)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "one.toml").write_text(HEAD)
    monkeypatch.chdir(tmp_path)
    profiles = places()
    with pytest.raises(
        SpecError, match=r"'one' is unknown; known are none\. A file is given with a slash: \./one\.toml"
    ):
        profiles.choose("one")
    assert profiles.choose("./one.toml").name == "one"


@pytest.mark.parametrize("name", ["../one", "", "a b", 3, None, "x" * 64])
def test_a_name_that_is_none_is_refused(places: Callable[..., Profiles], name: object) -> None:
    with pytest.raises(SpecError):
        places().choose(name)  # type: ignore[arg-type]


def test_a_folder_that_can_not_be_looked_into_is_an_error(places: Callable[..., Profiles], tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "profiles").symlink_to(tmp_path / "etc" / "profiles")
    profiles = places()
    with pytest.raises(SpecError, match="can't look for profiles here"):
        list(profiles)
    with pytest.raises(SpecError, match="can't tell whether this profile exists"):
        profiles["one"]


# -- with a host --------------------------------------------------------------------------------------------------

STRICT = HEAD + 'lifetime = "1h"\nidle_timeout = "10m"\n[limits]\nmemory = "64M"\n[env]\nA = "profile"\nB = "kept"\n'


@pytest.fixture
def profiled(no_own_leaks: None, fakes: Callable[..., object], runtime: FakeRuntime) -> Iterator[Host]:  # noqa: ARG001
    with Host(plugins=[fakes(runtime), Provider(Profile.parse(STRICT))], entry_points=False) as host:
        yield host


def test_a_sandbox_takes_all_of_its_profile(profiled: Host) -> None:
    with profiled.create(profile="one") as box:
        assert box.spec.limits.memory == 64 << 20
        assert (box.spec.lifetime, box.spec.idle_timeout) == (3600, 600)
        assert (box.spec.env["A"], box.spec.env["B"]) == ("profile", "kept")


def test_keywords_go_over_a_profile(profiled: Host) -> None:
    with profiled.create(profile="one", limits={"memory": "128M"}, env={"A": "mine"}, lifetime=60) as box:
        assert box.spec.limits.memory == 128 << 20
        assert (box.spec.env["A"], box.spec.env["B"]) == ("mine", "kept")
        assert (box.spec.lifetime, box.spec.idle_timeout) == (60, 60)


def test_bounds_come_last_and_nothing_is_over_them(profiled: Host) -> None:
    bound = {"limits": {"memory": "32M"}, "forbidden": ["/etc/passwd"]}
    with profiled.create(profile="one", limits={"memory": "128M"}, restrict=bound) as box:
        assert box.spec.limits.memory == 32 << 20
        assert "/etc/passwd" in box.spec.paths.forbidden
    assert profiled.run("true", profile="one", restrict={"network": "none"}).ok


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"profile": "one", "policy": Policy()}, "profile= and policy= were both given"),
        ({"profile": "none-such"}, "'none-such' is unknown; known are one"),
        ({"profile": 3}, "3 is not a name"),
        ({"restrict": {"memory": 1}}, "restrict: 'memory' is unknown; known bounds are isolation"),
        ({"restrict": [1]}, "restrict: a mapping is needed"),
        ({"profile": "one", "env": 3}, "env: a mapping is needed"),
    ],
)
def test_a_bad_request_makes_no_sandbox(profiled: Host, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        profiled.create(**keywords)
    assert profiled.sandboxes() == []


# -- those that come with cloche ----------------------------------------------------------------------------------


def test_the_bundled_profiles_are_good_and_say_why() -> None:
    profiles = Plugins.load(Config(), plugins=[cloche_profiles], entry_points=False).profiles
    assert {"untrusted-python", "untrusted-node", "build", "notebook", "judge", "agent-shell"} <= set(profiles)
    folder = Path(cloche_profiles.__file__).parent
    for name, profile in profiles.items():
        assert Profile.parse(profile.to_toml()) == profile
        assert profile.policy.isolation in {"enhanced", "maximum"}
        assert profile.lifetime is not None
        assert profile.policy.rules
        assert not profile.policy.rules.audit
        text = (folder / f"{name}.toml").read_text(encoding="utf-8")
        assert re.search(r'^(rules = "on"|without = .*)  +# ', text, re.MULTILINE)
        numbers = [line for line in text.partition("[limits]")[2].partition("\n\n")[0].splitlines() if " = " in line]
        assert numbers
        assert [line for line in numbers if "  # " not in line] == []
