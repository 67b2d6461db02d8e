"""Conditions read from text and written as text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import Condition, F, SpecError, parse_condition, written_condition
from cloche.rules.condition import ALWAYS, All, AnyOf, Compare, Not
from cloche.rules.fields import FIELDS
from cloche.rules.syntax import Joined, Term, Word, condition_tree

PATHS = [name for name, field in FIELDS.items() if field.kind == "path"]
TEXTS = [name for name, field in FIELDS.items() if field.kind in ("text", "process")]
NUMBERS = [name for name, field in FIELDS.items() if field.kind == "number"]
FLAGS = [name for name, field in FIELDS.items() if field.kind == "flag"]


def texts() -> st.SearchStrategy[str]:
    some = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
    words = st.sampled_from(
        ["and", "or", "not", "in", "5", "${workspace}", "a b", "'", '"', "\\", "\x1b[2J", "\udcff", "=", "("]
    )
    return some | words


def comparisons() -> st.SearchStrategy[Condition]:
    values = st.lists(texts(), min_size=1, max_size=3)
    numbers = st.integers(-(1 << 63), (1 << 64) - 1)
    return st.one_of(
        st.builds(Compare, st.sampled_from(PATHS), st.sampled_from(["==", "startswith", "glob", "under"]), values),
        st.builds(Compare, st.sampled_from(TEXTS), st.sampled_from(["==", "contains", "icontains"]), values),
        st.builds(Compare, st.sampled_from(NUMBERS), st.sampled_from(["==", "has"]), st.lists(numbers, min_size=1)),
        st.builds(Compare, st.sampled_from(NUMBERS), st.sampled_from(["<", ">="]), st.tuples(numbers)),
        st.builds(Compare, st.sampled_from(FLAGS), st.just("=="), st.tuples(st.sampled_from([0, 1]))),
        st.builds(Compare, st.sampled_from([*PATHS, *TEXTS, *NUMBERS]), st.just("exists")),
    )  # fmt: skip


def conditions() -> st.SearchStrategy[Condition]:
    return st.recursive(
        comparisons(),
        lambda inner: st.one_of(
            st.builds(lambda one, other: one & other, inner, inner),
            st.builds(lambda one, other: one | other, inner, inner),
            st.builds(lambda one: ~one, inner),
        ),
        max_leaves=12,
    )


@given(conditions())
def test_what_is_written_is_read_as_the_same(condition: Condition) -> None:
    text = written_condition(condition)
    assert parse_condition(text) == condition
    assert text.isprintable()
    assert written_condition(parse_condition(text)) == text


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("file under (/etc, '/x') and not file under ${home}", F.file.under("/etc", "/x") & ~F.file.under("${home}")),
        ("mode has 0o6000 or climbs", F.mode.has(0o6000) | F.flag("climbs")),
        ('argv contains "--privileged"', F.argv.contains("--privileged")),
        ("call = openat", F.call == "openat"),
        ("call == openat", F.call == "openat"),
        ("call!=openat", F.call != "openat"),
        ("call in (openat, openat2)", F.call.one_of("openat", "openat2")),
        ("process.name intersects(bash,sh,)", F["process.name"].one_of("bash", "sh")),
        ("file pmatch (/etc)", F.file.under("/etc")),
        ("port > 0x400", F.port >= 0x401),
        ("port <= 1023", F.port < 1024),
        ("port < 1024 and port >= 1", (F.port < 1024) & (F.port >= 1)),
        ("result = -13", F.result == -13),
        ("name exists", F.name.exists()),
        ("denied = false", Compare("denied", "==", (0,))),
        ("not denied = true", ~F.flag("denied")),
        ("not not climbs", F.flag("climbs")),
        ("not(climbs)and(denied or cut)", ~F.flag("climbs") & (F.flag("denied") | F.flag("cut"))),
        ("climbs or denied and cut", F.flag("climbs") | (F.flag("denied") & F.flag("cut"))),
        ("always", ALWAYS),
        ("never", AnyOf(())),
        (r'name = "a\"b\\\n\x41\u00e9\U0001F600"', F.name == 'a"b\\\nA\u00e9\U0001f600'),
        (r"name = '\xff'", F.name == "\udcff"),
        ("name = and", F.name == "and"),
        ("  file\n  glob\t'/a b/*' ", F.file.glob("/a b/*")),
    ],
)  # fmt: skip
def test_each_form_has_its_meaning(text: str, condition: Condition) -> None:
    assert parse_condition(text) == condition


def test_bytes_are_given_in_hexadecimal() -> None:
    assert parse_condition("address bcontains 7f454c46") == F.address.contains("\x7fELF")
    assert parse_condition("address bstartswith ff") == F.address.startswith("\udcff")


def test_macros_and_lists_stand_for_what_they_are() -> None:
    found = parse_condition(
        "shells or process.name in (dash, more, 'more')",
        macros={"shells": F["process.name"] == "bash"}, lists={"more": ("zsh", "ksh")},
    )  # fmt: skip
    names = F["process.name"]
    assert found == (names == "bash") | names.one_of("dash", "zsh", "ksh", "more")


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (All((AnyOf((F.flag("cut"), F.flag("climbs"))), F.name == "x")), "(cut or climbs) and name = x"),
        (Not(AnyOf((All((F.flag("cut"), F.flag("climbs"))),))), "not (cut and climbs)"),
        (All((All((F.flag("cut"), F.flag("climbs"))), F.name == "x")), "cut and climbs and name = x"),
        (Not(F.flag("cut")), "not cut"),
        (F.name != "x", "name != x"),
        (Not(F.name.one_of("x", "y")), "not name in (x, y)"),
        (F.name == "a\x1b\u202e\udc80", r'name = "a\u001b\u202e\x80"'),
        (F.name == "", 'name = ""'),
        (Compare("port", "<", (3, 5)), "(port < 3 or port < 5)"),
    ],
)
def test_conditions_are_written_as_a_person_would(condition: Condition, text: str) -> None:
    assert written_condition(condition) == text
    assert written_condition(parse_condition(text)).strip("()") == text.strip("()")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1, column 1: a field, 'not' or '(' is expected, not the end"),
        ("climbs and", "line 1, column 11: a field, 'not' or '(' is expected, not the end"),
        ("climbs climbs", "column 8: an operator (== != <="),
        ("climbs\nand (cut", "line 2, column 9: 'and', 'or' or ')' is expected, not the end"),
        ("climbs)", "column 7: 'and', 'or' or the end is expected, not ')'"),
        ("file", "column 1: an operator is expected after file"),
        ("nothing", "'nothing' is no flag, no macro"),
        ("evt.type = open", "field 'evt.type' is unknown"),
        ("file under", "column 11: a value is expected"),
        ("file under (/etc /root)", "column 18: ',' or ')' is expected, not '/root)'"),
        ("file under ()", "under needs a value"),
        ('file under "/etc', 'column 12: a value with a closing " is expected'),
        (r'file = "\q"', r"without the escape '\\q'"),
        ("file <= 5", "can't be asked of a path"),
        ("mode under 5", "can't be asked of a number"),
        ("mode = rwx", "a number (12, 0x1f, 0o755) is needed, not 'rwx'"),
        ("mode = 0755", "a number (12, 0x1f, 0o755) is needed"),
        ("mode = 99999999999999999999", "64 bits is needed"),
        ("climbs = yes", "true or false is needed"),
        ("file iglob /A*", "iglob has no meaning here"),
        ("file bcontains xyz", "bytes in hexadecimal are needed"),
        ("file contains ''", "an empty text would always hold"),
        (r"file = '\x00'", "NUL"),
        (r"file = '\U7fffffff'", "whose escapes are characters"),
        ("in = 5", "a field, 'not' or '(' is expected"),
        ("(" * 100 + "climbs" + ")" * 100, "no more than 64 parentheses"),
        ("not " * 100 + "climbs", "no more than 64 parentheses"),
        (" or ".join(["climbs"] * 5000), "no more than 4096 comparisons"),
        (f"pid in ({', '.join(['1'] * 5000)})", "5000 values; at most 4096"),
    ],
)  # fmt: skip
def test_an_error_says_where_and_what_was_expected(text: str, told: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_condition(text, what="rules.yaml: rule x: where")
    assert told in str(error.value)
    assert str(error.value).startswith("rules.yaml: rule x: where")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 10_000_000, "a" * 10_000_000, "not " * 200_000, "'" + "\\'" * 400_000, "x = a " * 150_000,
        "f in (" + "a," * 400_000,
    ],
)  # fmt: skip
def test_a_huge_text_is_refused_soon(text: str) -> None:
    begun = time.monotonic()
    with pytest.raises(SpecError):
        parse_condition(text)
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("text", [5, None, b"climbs"])
def test_what_is_no_text_is_refused(text: object) -> None:
    with pytest.raises(SpecError, match="text is needed"):
        parse_condition(text)  # type: ignore[arg-type]


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        condition = parse_condition(text)
    except SpecError:
        return
    assert isinstance(condition, Condition)


def test_a_condition_nested_too_deeply_can_not_be_written() -> None:
    deep: Condition = F.flag("climbs")
    for _ in range(100):
        deep = Not(deep)
    with pytest.raises(SpecError, match="nested more than 64 deep"):
        written_condition(deep)


def test_the_tree_knows_no_fields() -> None:
    tree = condition_tree("evt.type in (open, openat) and proc.aname[2]=bash and basename(proc.exepath) = 'x'")
    assert tree == Joined("and", (
        Term("evt.type", "in", (Word("open"), Word("openat")), 1, 1),
        Term("proc.aname[2]", "=", (Word("bash"),), 1, 32),
        Term("basename(proc.exepath)", "=", (Word("x", quoted=True),), 1, 55),
    ))  # fmt: skip
    assert condition_tree(r"a contains '\ '", strict=False) == Term("a", "contains", (Word("\\ ", quoted=True),))
