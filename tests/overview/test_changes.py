"""Cursors: what changed, what is gone, and what an unknown cursor means."""

from __future__ import annotations

from breedclf.overview.changes import ChangeLog


def test_only_what_changed_after_the_cursor_is_named() -> None:
    log = ChangeLog()
    assert log.update({"a": "1", "b": "1"})
    cursor = log.cursor
    assert not log.update({"a": "1", "b": "1"})
    assert log.cursor == cursor
    assert log.since(cursor).changed == ()
    assert log.update({"a": "1", "c": "1"})
    changes = log.since(cursor)
    assert (changes.changed, changes.removed) == (("c",), ("b",))
    assert log.since(changes.cursor).changed == ()


def test_a_cursor_of_another_server_reads_as_the_beginning() -> None:
    log, other = ChangeLog(), ChangeLog()
    log.update({"a": "1"})
    other.update({"a": "1"})
    for cursor in (other.cursor, "", "-", "x-1", log.cursor + "0", log.cursor.replace("-1", "--1")):
        assert log.since(cursor).changed == ("a",), cursor


def test_what_comes_back_is_changed_and_no_longer_removed() -> None:
    log = ChangeLog()
    log.update({"a": "1"})
    cursor = log.cursor
    log.update({})
    log.update({"a": "1"})
    assert log.since(cursor) == log.since(cursor)
    assert (log.since(cursor).changed, log.since(cursor).removed) == (("a",), ())
