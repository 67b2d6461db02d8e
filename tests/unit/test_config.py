from __future__ import annotations

import os
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from cloche import Config, SpecError, settings
from cloche.settings import FILE_MAX, LINE_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

WHOLE = """
[host]
default_isolation = "maximum"
runtime = "bwrap"
uid_base = 300000
uid_count = 1000
blocked_plugins = ["process"]

[plugins.bwrap]
path = "/usr/bin/bwrap"
nested.list = [1, 2]
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write_file(text: str | bytes) -> Path:
        path = tmp_path / "cloche.toml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write_file


def home(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "home" / ".config" / "cloche" / "cloche.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def level(name: str) -> str:
    return f'[host]\ndefault_isolation = "{name}"\n'


def test_a_file_gives_every_setting(write: Callable[[str], Path]) -> None:
    path = write(WHOLE)
    config = Config.load(path)
    assert config == Config.load(str(path))
    assert (config.default_isolation, config.runtime) == ("maximum", "bwrap")
    assert (config.uid_base, config.uid_count) == (300000, 1000)
    assert config.blocked_plugins == {"process"}
    assert config.table("bwrap") == {"path": "/usr/bin/bwrap", "nested": {"list": [1, 2]}}
    assert config.source == str(path)


def test_a_mapping_is_read_like_a_file() -> None:
    config = Config.load(MappingProxyType({"host": {"uid_base": 70000}, "plugins": {"x": {"a": 1}}}))
    assert (config.uid_base, config.table("x"), config.source) == (70000, {"a": 1}, None)


def test_without_a_file_the_defaults_hold() -> None:
    config = Config.load({})
    assert config == Config()
    assert (config.default_isolation, config.runtime, config.blocked_plugins) == ("enhanced", None, frozenset())
    assert (config.uid_base, config.uid_count) == (200_000, 65_536)
    assert config.keeper_idle == 5.0


def test_settings_can_not_be_changed() -> None:
    config = Config.load({"plugins": {"x": {"list": [1]}}})
    with pytest.raises(FrozenInstanceError):
        config.runtime = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.plugins["y"] = {}  # type: ignore[index]
    with pytest.raises(TypeError):
        config.table("x")["y"] = 1  # type: ignore[index]
    config.table("x")["list"].append(2)
    assert config.table("x") == {"list": [1]}


def test_a_mapping_changed_later_changes_nothing() -> None:
    given: dict[str, Any] = {"plugins": {"x": {"list": [1]}}}
    config = Config.load(given)
    given["plugins"]["x"]["list"].append(2)
    assert config.table("x") == {"list": [1]}


def test_a_plugin_without_a_table_gets_an_empty_one() -> None:
    assert Config().table("bwrap") == {}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"hosts": {}}, "unknown table 'hosts'"),
        ({"host": {"default_isolatoin": "standard"}}, "unknown key host.default_isolatoin; known are default_isol"),
        ({"host": []}, "host: a table is needed"),
        ({"host": {"default_isolation": 3}}, "host.default_isolation: 3 is not a name"),
        ({"host": {"default_isolation": "a/b"}}, "host.default_isolation"),
        ({"host": {"runtime": ""}}, "host.runtime"),
        ({"host": {"runtime": None}}, "host.runtime"),
        ({"host": {"uid_base": "200000"}}, "host.uid_base: a whole number"),
        ({"host": {"uid_base": True}}, "host.uid_base: a whole number"),
        ({"host": {"uid_base": 0}}, "host.uid_base: 0 is out of range"),
        ({"host": {"uid_base": 65534}}, "host.uid_base: 65534 is out of range"),
        ({"host": {"keeper_idle": 0}}, "host.keeper_idle: 0 is out of range"),
        ({"host": {"keeper_idle": float("inf")}}, "host.keeper_idle: inf is out of range"),
        ({"host": {"uid_count": 0}}, "host.uid_count: 0 is out of range"),
        ({"host": {"uid_base": 2**31 - 1, "uid_count": 2}}, "host.uid_base and host.uid_count reach over"),
        ({"host": {"blocked_plugins": "process"}}, "host.blocked_plugins: a list"),
        ({"host": {"blocked_plugins": [1]}}, "host.blocked_plugins: 1 is not a name"),
        ({"host": {"blocked_plugins": {"process": True}}}, "host.blocked_plugins: a list"),
        ({"plugins": []}, "plugins: a table is needed"),
        ({"plugins": {"bwrap": "/usr/bin/bwrap"}}, "plugins.bwrap: a table is needed"),
        ({"plugins": {"a b": {}}}, "plugins: 'a b' is not a name"),
        ({"plugins": {3: {}}}, "plugins: 3 is not a name"),
    ],
)
def test_a_bad_setting_is_refused_by_name(table: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Config.load(table)
    assert str(caught.value).startswith("config: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[host\n", "not valid TOML"),
        ("a = 1\na = 2\n", "not valid TOML"),
        (b"x = '\xff'\n", "not UTF-8: byte 5 is 0xff"),
        (b"\0", "not valid TOML"),
        ("[host]\nuid_base = " + "9" * 900 + "\n", "host.uid_base"),
        ("x = " + "[" * 900, "not"),
        ("x = " + "[\n" * 20_000, "nested too deeply"),
        ("a." * LINE_MAX + "b = 1", f"line 1 is longer than {LINE_MAX}"),
        ("\n" * FILE_MAX + "x", f"longer than {FILE_MAX} bytes"),
        ("[host]\nmagic = 1\n", "unknown key host.magic"),
    ],
    ids=lambda value: repr(value)[:25],
)
def test_a_bad_file_is_refused_by_path(write: Callable[[str | bytes], Path], text: str | bytes, message: str) -> None:
    path = write(text)
    with pytest.raises(SpecError) as caught:
        Config.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    missing = tmp_path / "no.toml"
    with pytest.raises(SpecError, match=r"no\.toml: can't read.*No such file"):
        Config.load(missing)
    with pytest.raises(SpecError, match=r"no\.toml: can't read.*No such file"):
        Config.load(None, environ={"CLOCHE_CONFIG": str(missing)})


def test_what_is_no_regular_file_is_refused_without_waiting_on_it(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (fifo, tmp_path, Path("/dev/zero"), loop, tmp_path / ("x" * 300)):
        with pytest.raises(SpecError, match="can't read this configuration"):
            Config.load(path)


@pytest.mark.parametrize("source", [3, b"cloche.toml", ["host"], "a\0b"])
def test_what_is_neither_path_nor_mapping_is_refused(source: Any) -> None:  # noqa: ANN401 - anything at all
    with pytest.raises(SpecError, match=r"^config: "):
        Config.load(source)


def test_a_file_in_the_present_folder_is_never_read_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[str], Path]
) -> None:
    write(level("standard"))
    (tmp_path / "cloche").mkdir()
    (tmp_path / "cloche" / "cloche.toml").write_text(level("standard"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings, "SYSTEM_FOLDER", tmp_path / "etc")
    for environ in ({}, {"HOME": ""}, {"HOME": "."}, {"XDG_CONFIG_HOME": "."}, {"CLOCHE_CONFIG": ""}):
        assert Config.load(None, environ=environ) == Config()


def test_files_are_looked_for_in_order_and_the_first_is_taken_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "etc" / "cloche.toml"
    system.parent.mkdir()
    monkeypatch.setattr(settings, "SYSTEM_FOLDER", system.parent)
    users, xdg = home(tmp_path, level("users")), tmp_path / "xdg" / "cloche" / "cloche.toml"
    environ = {"HOME": str(tmp_path / "home")}

    system.write_text(level("system") + "uid_base = 70000\n")
    assert Config.load(environ={}).default_isolation == "system"
    config = Config.load(environ=environ)
    assert (config.default_isolation, config.uid_base, config.source) == ("users", 200_000, str(users))

    environ["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
    assert Config.load(environ=environ).default_isolation == "system"
    xdg.parent.mkdir(parents=True)
    xdg.write_text(level("xdg"))
    assert Config.load(environ=environ).default_isolation == "xdg"

    (tmp_path / "named.toml").write_text(level("named"))
    environ["CLOCHE_CONFIG"] = str(tmp_path / "named.toml")
    assert Config.load(environ=environ).default_isolation == "named"
    assert Config.load({}, environ=environ).default_isolation == "enhanced"


def test_a_file_that_was_found_must_not_be_writable_by_everyone(tmp_path: Path) -> None:
    path = home(tmp_path, level("standard"))
    path.chmod(0o666)
    with pytest.raises(SpecError, match="not trusted"):
        Config.load(environ={"HOME": str(tmp_path / "home")})
    assert Config.load(path).default_isolation == "standard"  # named by the caller: the caller's choice


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_that_was_found_must_belong_to_the_user_or_root(tmp_path: Path) -> None:
    path = home(tmp_path, level("standard"))
    os.chown(path, 12345, -1)
    with pytest.raises(SpecError, match="not trusted"):
        Config.load(environ={"HOME": str(tmp_path / "home")})


def test_a_place_that_can_not_be_looked_at_is_an_error_not_an_absence(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(SpecError, match="can't tell whether this configuration exists"):
        Config.load(environ={"XDG_CONFIG_HOME": str(loop)})
