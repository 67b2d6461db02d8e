from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import ClocheError, Guarantee, GuestFailed, ProcessSpec, Result, SpecError, Stats, Usage, Window
from cloche.spec import ARGS_MAX, STRING_MAX, check_env

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche import Spec


def process(*args: str, env: dict[str, str] | None = None, cwd: str = "/") -> ProcessSpec:
    return ProcessSpec(args=args, env=env or {}, cwd=cwd)


def test_a_spec_needs_its_guarantees_and_its_limits(make_spec: Callable[..., Spec]) -> None:
    spec = make_spec(guarantees=frozenset({Guarantee.NETWORK, Guarantee.PIDS}))
    assert spec.needed() == {"network", "pids", "memory", "cpu", "open_files", "file_size", "disk", "output", "wall"}


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("",),
        ("a", "b\0"),
        ("a", "\ud800"),
        ("a", "x" * (STRING_MAX + 1)),
        ("x" * 10_000_000,),
        ("a", b"b"),
        ("a", 1),
    ],
    ids=lambda args: repr(args)[:30],
)
def test_arguments_that_can_not_be_executed_are_refused(args: tuple[str, ...]) -> None:
    with pytest.raises(SpecError):
        process(*args)


@pytest.mark.parametrize("letter", ["x", "é"])
def test_arguments_and_environment_have_a_bound_in_bytes_together(letter: str) -> None:
    size = len(letter.encode())
    half = [letter * (STRING_MAX // size)] * (ARGS_MAX // STRING_MAX // 2)
    env = {f"v{n}": letter * (STRING_MAX // size - 10) for n in range(ARGS_MAX // STRING_MAX // 2)}
    assert process("a", *half[1:], env=env).args[1:] == tuple(half[1:])
    with pytest.raises(SpecError, match=f"at most {ARGS_MAX}"):
        process("a", *half, letter * (STRING_MAX // size), env=env)


@pytest.mark.parametrize("cwd", ["", "x", "./x", "/x/../y", "/x\0", "/" + "x" * 5000])
def test_a_working_folder_is_a_plain_absolute_path(cwd: str) -> None:
    with pytest.raises(SpecError, match=r"^cwd: "):
        process("a", cwd=cwd)


@given(st.text("AB_=\0é ", max_size=5), st.text("xy=\0", max_size=5))
def test_an_environment_entry_splits_back_into_what_it_was(name: str, value: str) -> None:
    try:
        entry = check_env(name, value)
    except SpecError:
        assert not name or "=" in name or "\0" in name + value
    else:
        assert entry.split("=", 1) == [name, value]


def test_an_environment_of_other_types_is_refused() -> None:
    for name, value in [("A", 1), (1, "a"), ("A", b"a"), ("A" * 257, "x"), ("A", "x" * STRING_MAX)]:
        with pytest.raises(SpecError, match="environment"):
            process("a", env={name: value})  # type: ignore[dict-item]


@pytest.mark.parametrize(("rows", "columns"), [(0, 80), (24, 0), (65536, 80), (24.0, 80), (True, 80), ("24", 80)])
def test_a_window_has_a_size_that_terminals_can_hold(rows: int, columns: int) -> None:
    with pytest.raises(SpecError, match="window"):
        Window(rows, columns)


def result(*, exit_code: int, reason: str = "exited", stderr: bytes = b"", detail: str = "") -> Result:
    return Result(args=("make",), exit_code=exit_code, reason=reason, stderr=stderr, detail=detail, stdout=b"a\xff\n")


def test_a_result_is_ok_only_if_the_program_ended_by_itself_with_zero() -> None:
    assert result(exit_code=0).ok
    assert not result(exit_code=1).ok
    assert not result(exit_code=0, reason="timeout").ok


def test_check_gives_a_good_result_and_raises_a_bad_one() -> None:
    good, bad = result(exit_code=0), result(exit_code=2, stderr=b"no rule\n")
    assert good.check() is good
    with pytest.raises(GuestFailed, match="no rule") as caught:
        bad.check()
    assert caught.value.result is bad
    assert isinstance(caught.value, ClocheError)


def test_a_result_explains_itself_in_one_line() -> None:
    bad = result(exit_code=137, reason="out_of_memory", detail="over 512M", stderr=b"x" * 900 + b" last\n")
    assert bad.explain().startswith("'make' ended: out_of_memory, exit code 137; over 512M; xxx")
    assert bad.explain().endswith("x last")
    assert len(bad.explain()) < 600


def test_text_is_standard_output_whatever_its_bytes() -> None:
    assert result(exit_code=0).text == "a\ufffd\n"
    assert result(exit_code=0).usage == Usage(0.0, 0.0, 0)


def test_statistics_are_a_mapping_that_nobody_can_change() -> None:
    given = {"pids": 3, "cpu": 0.5}
    stats = Stats(given)
    given["pids"] = 4
    assert dict(stats) == {"pids": 3, "cpu": 0.5}
    assert (len(stats), repr(stats)) == (2, "Stats({'pids': 3, 'cpu': 0.5})")
    with pytest.raises(KeyError):
        stats["memory"]
    with pytest.raises(TypeError):
        stats["pids"] = 1  # type: ignore[index]


@pytest.mark.parametrize("bad", [{"pids": "3"}, {"pids": None}, {"pids": True}, {4: 4.0}])
def test_statistics_hold_numbers_by_name(bad: dict[str, float]) -> None:
    with pytest.raises(TypeError, match="no number"):
        Stats(bad)
