"""Predictions: ranked classes and how many of them are returned."""

from __future__ import annotations

import pytest

from breedclf.errors import ConfigError
from breedclf.inference.prediction import NONE_OF_THESE, Prediction, RankedClass

RANKED = (RankedClass("Beagle", "002.Beagle", 0.7), RankedClass("Basenji", "001.Basenji", 0.3))


def test_top_returns_the_most_probable_classes() -> None:
    prediction = Prediction(RANKED)
    assert prediction.best == RANKED[0]
    assert prediction.top(0) == []
    assert prediction.top(1) == [RANKED[0]]
    assert prediction.top() == list(RANKED), "fewer classes than requested are all classes"


def test_a_negative_number_of_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"top\(-1\): the number of classes must be 0 or more"):
        Prediction(RANKED).top(-1)


def test_the_text_names_the_best_class_if_the_model_is_sure() -> None:
    assert str(Prediction(RANKED)) == "Beagle (70.0%)"
    assert str(Prediction(RANKED, known=False)) == NONE_OF_THESE
