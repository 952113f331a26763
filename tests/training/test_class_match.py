"""Classes of a run matched to those of a model: by label, then by unique display names."""

from __future__ import annotations

import pytest

from breedclf.training.class_match import ClassMatch, match_classes


def matched(model: str, run: str) -> ClassMatch:
    def names(labels: list[str]) -> list[str]:
        return [label.rpartition(".")[2] for label in labels]

    return match_classes(model.split(), names(model.split()), run.split(), names(run.split()))


@pytest.mark.parametrize(
    ("model", "run", "rows", "dropped"),
    [
        ("a b c", "a b c", (0, 1, 2), ()),
        ("a b c", "b c d", (1, 2, None), ("a",)),
        ("c a b", "a b c", (1, 2, 0), ()),
        ("a b", "c d", (None, None), ("a", "b")),
        ("1.Ant 2.Cat", "1.Ant 2.Bee 3.Cat", (0, None, 1), ()),
        ("Beagle Collie", "001.Beagle 002.Collie", (0, 1), ()),
        ("1.Cat 2.Dog", "1.Dog 2.Cat", (1, 0), ()),
        ("1.Cat 2.Cat", "3.Cat", (None,), ("1.Cat", "2.Cat")),
        ("1.Cat", "2.Cat 3.Cat", (None, None), ("1.Cat",)),
        ("1.Cat", "1.Cat 2.Cat", (0, None), ()),
        ("1.Cat 2.Cat", "1.Cat 5.Cat", (0, None), ("2.Cat",)),
        ("cat", "Cat", (None,), ("cat",)),
    ],
)
def test_equal_labels_match_else_unique_names(
    model: str, run: str, rows: tuple[int | None, ...], dropped: tuple[str, ...]
) -> None:
    found = matched(model, run)
    assert (found.rows, found.dropped) == (rows, dropped)
    assert [*found.kept, *found.new] == sorted(run.split(), key=lambda label: rows[run.split().index(label)] is None)
    assert len(found.kept) + len(found.dropped) == len(model.split())


def test_a_line_of_the_log_names_what_changes() -> None:
    assert str(matched("a b c", "a b c")) == "3 classes kept"
    assert str(matched("1.Cat 2.Dog", "1.Ant 2.Cat")) == (
        "1 class kept ('2.Cat' was '1.Cat'), 1 new ('1.Ant'), 1 dropped ('2.Dog')"
    )
    many = " ".join(f"c{number}" for number in range(9))
    assert str(matched("a", f"a {many}")) == "1 class kept, 9 new ('c0', 'c1', 'c2', 'c3', 'c4' and 4 more)"
    assert str(matched("a", "b")) == "no class kept, so the head is new, 1 new ('b'), 1 dropped ('a')"
