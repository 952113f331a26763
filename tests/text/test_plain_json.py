"""JSON that any reader takes, and dataclasses made of what JSON gives."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NoReturn

import pytest

from breedclf.api.endpoint import prediction_of
from breedclf.cli.terminal import Terminal
from breedclf.errors import EndpointError
from breedclf.jobs import JobDescription, JobSpec, JobStatus, SecondaryStatus
from breedclf.jobs.endpoints import EngineChoice
from breedclf.text.plain_json import plain_json
from breedclf.training.records import EpochRecord


def refused(word: str) -> NoReturn:
    raise AssertionError(f"{word} is no JSON")


def strictly(text: str) -> object:
    return json.loads(text, parse_constant=refused)


def test_what_is_no_number_is_null() -> None:
    document = {"a": math.nan, "b": [math.inf, (-math.inf, 1.5, "NaN", None, True, 3)], "c": {"d": 0.0}}
    assert strictly(plain_json(document)) == {
        "a": None,
        "b": [None, [None, 1.5, "NaN", None, True, 3]],
        "c": {"d": 0.0},
    }


def test_commands_print_null_for_a_loss_that_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    job = JobDescription("job", JobStatus.FAILED, SecondaryStatus.FAILED, 1.0, metrics={"train_loss": math.nan})
    Terminal(json=True).result(job.to_dict(), "")
    assert strictly(capsys.readouterr().out)["metrics"] == {"train_loss": None}  # type: ignore[index]


def test_an_epoch_without_a_loss_comes_back() -> None:
    record = EpochRecord(2, 0.5, math.inf, 0.25, 100.0)
    told = record.to_dict()
    assert told == {
        "epoch": 2,
        "train_loss": 0.5,
        "valid_loss": None,
        "valid_accuracy": 0.25,
        "images_per_second": 100.0,
    }
    assert math.isnan(EpochRecord.from_dict(told).valid_loss)
    assert EpochRecord.from_dict({**told, "valid_loss": 0.5}) == EpochRecord(2, 0.5, 0.5, 0.25, 100.0)


@pytest.mark.parametrize(
    "spec",
    [
        JobSpec("a"),
        JobSpec(
            "b", {"epochs": "2"}, {"training": Path("/data")}, Path("/code"), cores=2, cache_dir=Path("c"), spot=True
        ),
    ],
)
def test_an_order_comes_back_as_it_was(spec: JobSpec) -> None:
    assert JobSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_a_later_versions_fields_are_passed_over() -> None:
    engine = EngineChoice("openvino", "fp32")
    assert EngineChoice.from_dict({**engine.to_dict(), "colour": "blue"}) == engine


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "can't be read"),
        (b"[" * 100_000, "can't be read"),
        (b"[]", "expected an object"),
        (b"{}", "predictions is missing"),
        (b'{"predictions": []}', "without probabilities"),
        (b'{"predictions": [{"class_name": "a", "label": "a"}]}', r"predictions\.0\.probability is missing"),
        (b'{"predictions": [{"class_name": "a", "label": "a", "probability": "1"}]}', "expected a float, not '1'"),
        (b'{"predictions": [{"class_name": "a", "label": "a", "probability": NaN}]}', "without probabilities"),
        (b'{"predictions": [{"class_name": "a", "label": "a", "probability": 7}]}', "without probabilities"),
    ],
)
def test_a_servers_answer_that_is_no_prediction(answer: bytes, words: str) -> None:
    with pytest.raises(EndpointError, match=words):
        prediction_of(answer)
    whole = prediction_of(b'{"predictions": [{"class_name": "a", "label": "b", "probability": 1}], "known": false}')
    assert (whole.best.label, whole.known) == ("b", False)
