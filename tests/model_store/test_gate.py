"""What the gate requires, by figures, and how these are measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from breedclf import ModelStore
from breedclf.cli import main
from breedclf.errors import GateError
from breedclf.model_store.comparison import ModelComparison, compared
from breedclf.model_store.gate import Gate, GateCheck, Parity, gate_checks, is_worse
from breedclf.model_store.gate_figures import gate_figures, parity_of
from tests.model_store.networks import CHECKERS, STRIPES, write_images, write_network

SURE = (0.94, 0.84, 0.98)


def _comparison(mended: int, broken: int, count: int = 400) -> ModelComparison:
    targets = np.zeros(count, int)
    first, second = targets.copy(), targets.copy()
    first[:mended], second[mended : mended + broken] = 1, 1
    return compared(("live", "new"), ("ant", "bee"), targets, first, second, str)


def _checks(gate: Gate, **figures: object) -> dict[str, GateCheck]:
    known = {"accuracy": SURE, "most_frequent": 0.5, "megabytes": 45.0, "against_live": None, **figures}
    return {check.name: check for check in gate_checks(gate, **known)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("baseline", "most_frequent", "passed"),
    [(None, 0.5, True), (None, 0.84, False), (0.83, 0.99, True), (0.9, 0.1, False)],
)
def test_the_whole_interval_must_exceed_the_baseline(
    baseline: float | None, most_frequent: float, passed: bool
) -> None:
    check = _checks(Gate(baseline=baseline), most_frequent=most_frequent)["accuracy"]
    assert check.passed is passed
    assert "94.0% (95% interval 84.0% to 98.0%), baseline" in check.detail
    assert ("most frequent class" in check.detail) is (baseline is None)


@pytest.mark.parametrize(
    ("mended", "broken", "max_drop", "worse"),
    [
        (3, 12, 0.0, True),
        (12, 3, 0.0, False),
        (4, 9, 0.0, False),  # p = 0.27
        (3, 12, 0.02, False),  # worse, but perhaps by less
        (0, 60, 0.02, True),
    ],
)
def test_a_model_that_is_worse_beyond_chance_is_refused(mended: int, broken: int, max_drop: float, worse: bool) -> None:
    against = _comparison(mended, broken)
    assert is_worse(against, max_drop) is worse
    check = _checks(Gate(max_drop=max_drop), against_live=against)["against the live model"]
    assert (check.passed, check.detail) == (not worse, against.verdict)
    assert "against the live model" not in _checks(Gate(max_drop=None), against_live=against)


def test_a_model_that_is_not_compared_says_why() -> None:
    check = _checks(Gate(), not_compared="version 3 is live already")["against the live model"]
    assert (check.passed, check.detail) == (True, "not compared: version 3 is live already")


@pytest.mark.parametrize(
    ("parity", "passed"),
    [
        (Parity(8, 0.0004, 0.001), True),
        (Parity(8, 0.004, 0.001), False),
        (Parity(8, 0.0, 0.001, other_classes=1), False),
    ],
    ids=["rounding", "other-probabilities", "other-classes"],
)
def test_the_model_directory_must_predict_as_it_was_measured(parity: Parity, passed: bool) -> None:
    assert _checks(Gate(), parity=parity)["parity"].passed is passed


def test_size() -> None:
    assert _checks(Gate(max_megabytes=45))["size"].passed
    check = _checks(Gate(max_megabytes=44.9))["size"]
    assert (check.passed, check.detail) == (False, "45.0 MB, at most 44.9 MB")
    assert "size" not in _checks(Gate())


def test_parity_ignores_the_order_of_almost_equal_classes() -> None:
    labels = ("ant", "bee")
    assert parity_of(labels, [[0.5001, 0.4999]], [{"ant": 0.4999, "bee": 0.5001}], 0.001).other_classes == 0
    found = parity_of(labels, [[0.6, 0.4]], [{"ant": 0.4, "bee": 0.6}], 0.001)
    assert (found.images, found.other_classes) == (1, 1)
    assert found.difference == pytest.approx(0.2)


def test_the_figures_of_a_model_alone_and_against_the_live_one(tmp_path: Path) -> None:
    data = write_images(tmp_path / "set")
    new, live = write_network(tmp_path / "new/model", STRIPES), write_network(tmp_path / "live/model", CHECKERS)
    other = write_network(tmp_path / "other/model", STRIPES, labels=(STRIPES, CHECKERS, "cat"))
    alone = gate_figures(new, data)
    assert (alone.accuracy[0], alone.most_frequent, alone.against_live) == (0.5, 0.5, None)
    assert alone.parity.images == 6 and alone.parity.difference <= alone.parity.tolerance
    against = gate_figures(new, data, live=live).against_live
    assert against is not None and (against.only_a, against.only_b) == (3, 3)
    unlike = gate_figures(other, data, live=live)
    assert unlike.against_live is None
    assert unlike.not_compared == "the live model has other classes (1 are new, 0 are gone)"


def test_a_refused_version_says_why_and_what_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, store = write_images(tmp_path / "set"), ModelStore(tmp_path / "store")
    for run, always in (("a", STRIPES), ("b", CHECKERS)):
        store.add(write_network(tmp_path / run / "model", always), name="dogs")
    store.promote("dogs", 1)
    with pytest.raises(GateError) as error:
        store.promote("dogs", 2, data=data)
    assert "the gate refuses version 2 of 'dogs': accuracy: 50.0% (95% interval" in str(error.value)
    assert str(error.value).endswith("version 1 stays live")
    assert main(["models", "promote", "dogs", "2", "--data", str(data), "--store", str(store.path)]) == 1
    assert "the gate refuses version 2" in capsys.readouterr().err
    assert store.record("dogs").live == 1
    checks = {check.name: check.detail for check in store.promote("dogs", 1, data=data, gate=Gate(baseline=0))}
    assert checks["against the live model"] == "not compared: version 1 is live already"
