from __future__ import annotations

import pytest

from cloche import Notice, NoticeType, SpecError
from cloche.notices import Subscriptions


def notice(kind: NoticeType = NoticeType.CREATED) -> Notice:
    return Notice(kind, "abc")


def test_a_callback_gets_the_types_it_asked_for() -> None:
    subscriptions = Subscriptions()
    seen: list[Notice] = []
    subscriptions.add(("started", "deleted"), seen.append)
    for kind in NoticeType:
        subscriptions.emit(notice(kind))
    assert [e.type for e in seen] == [NoticeType.STARTED, NoticeType.DELETED]


def test_a_callback_without_types_gets_all_of_them() -> None:
    subscriptions = Subscriptions()
    seen: list[Notice] = []
    subscriptions.add((), seen.append)
    for kind in NoticeType:
        subscriptions.emit(notice(kind))
    assert [e.type for e in seen] == list(NoticeType)


def test_callbacks_are_called_in_the_order_they_came() -> None:
    subscriptions = Subscriptions()
    order: list[str] = []
    subscriptions.add((), lambda _: order.append("first"))
    subscriptions.add((), lambda _: order.append("second"))
    subscriptions.emit(notice())
    assert order == ["first", "second"]


def test_a_remover_removes_its_own_callback_only_and_may_be_called_twice() -> None:
    subscriptions = Subscriptions()
    seen: list[str] = []
    remove = subscriptions.add((), lambda _: seen.append("one"))
    subscriptions.add((), lambda _: seen.append("two"))
    remove()
    remove()
    subscriptions.emit(notice())
    assert seen == ["two"]


def test_a_callback_may_remove_itself_while_it_is_called() -> None:
    subscriptions = Subscriptions()
    seen: list[str] = []

    def once(_: Notice) -> None:
        seen.append("once")
        remove()

    remove = subscriptions.add((), once)
    subscriptions.add((), lambda _: seen.append("always"))
    subscriptions.emit(notice())
    subscriptions.emit(notice())
    assert seen == ["once", "always", "always"]


def test_a_callback_that_raises_is_recorded_and_stops_no_other() -> None:
    subscriptions = Subscriptions()
    seen: list[Notice] = []

    def bad(_: Notice) -> None:
        raise ValueError("no")

    subscriptions.add((), bad)
    subscriptions.add((), seen.append)
    first = notice()
    subscriptions.emit(first)
    assert seen == [first]
    ((failed, error),) = subscriptions.failures
    assert (failed, str(error)) == (first, "no")


def test_only_the_last_hundred_failures_are_kept() -> None:
    subscriptions = Subscriptions()
    subscriptions.add((), lambda _: 1 / 0)
    notices = [notice() for _ in range(120)]
    for one in notices:
        subscriptions.emit(one)
    assert [failed for failed, _ in subscriptions.failures] == notices[-100:]


@pytest.mark.parametrize("bad", ["", "start", "CREATED", None, 3])
def test_an_unknown_type_is_refused_with_the_known_ones(bad: object) -> None:
    with pytest.raises(SpecError, match=r"known notices are created, started"):
        Subscriptions().add((bad,), print)  # type: ignore[arg-type]


def test_what_can_not_be_called_is_refused() -> None:
    with pytest.raises(SpecError, match="callable"):
        Subscriptions().add((), "print")  # type: ignore[arg-type]
