"""Predictions: ranked classes and how many of them are returned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from breedclf import Classifier
from breedclf.cli import main
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


def test_a_prediction_survives_json() -> None:
    for prediction in (Prediction(RANKED), Prediction(RANKED, known=False)):
        assert Prediction.from_dict(json.loads(json.dumps(prediction.to_dict()))) == prediction
    assert Prediction(RANKED).to_dict(top=1)["predictions"] == [RANKED[0].to_dict()]
    with pytest.raises(ConfigError, match=r"top\(-1\)"):
        Prediction(RANKED).to_dict(-1)


def test_what_the_command_prints_is_read_back(
    classifier: Classifier, photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(classifier.artifact), str(photos[0]), str(photos[1]), "--top", "99", "--json"]) == 0
    printed = [Prediction.from_dict(entry) for entry in json.loads(capsys.readouterr().out)]
    assert printed == [Classifier(classifier.artifact).predict(photo) for photo in photos[:2]]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({"path": "a.jpg", "error": "a.jpg can't be read"}, "a.jpg can't be read", id="an error"),
        pytest.param({}, "KeyError('predictions')", id="empty"),
        pytest.param({"predictions": []}, "`predictions` is empty", id="no classes"),
        pytest.param({"predictions": [{"class_name": "a", "label": "a", "probability": "?"}]}, "could not", id="text"),
        pytest.param([], "AttributeError|TypeError", id="list"),
    ],
)
def test_other_values_are_no_prediction(values: Any, said: str) -> None:
    with pytest.raises(ConfigError, match="these aren't the values of a prediction") as caught:
        Prediction.from_dict(values)
    assert any(part in str(caught.value) for part in said.split("|"))
