"""What each setting of a training says that it decides, and who asks: resuming, searches, and what is kept."""

from __future__ import annotations

import argparse
from typing import Any, Literal, get_origin

import pytest

from breedclf.cli import tune
from breedclf.cli.flags import take_space, training_config
from breedclf.config import TrainingConfig
from breedclf.config.base import Decides, decides, fields_that_decide
from breedclf.errors import ConfigError
from breedclf.training.checkpoints.resume import differing
from breedclf.tuning.flag_values import parse_parameter
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.space import NOT_TUNABLE, Categorical, Continuous, checked_space, is_number

CONFIG = TrainingConfig(data="dogs")
FIELDS = sorted(TrainingConfig.model_fields)
THEN = CONFIG.model_dump(mode="json")
CHOICES = {"precision": "fp32", "device": "cpu", "threads": 2}


def other_value(name: str) -> Any:
    """A value that the setting takes and that isn't its default."""
    field = TrainingConfig.model_fields[name]
    special = {
        "architecture": "resnet18",
        "freeze": "layer4",
        "batch_size": 64,
        "gradient_accumulation_steps": 2,
        "weights": "none",
        "log_to": "mlflow",
        "precision": "bf16",
        "loss": "mycode:focal",
        "sampler": "mycode:balanced",
        "metrics": "mycode:top2",
    }
    if name in special:
        return special[name]
    if get_origin(field.annotation) is Literal:
        return next(each for each in field.annotation.__args__ if each != field.default)  # type: ignore[union-attr]
    if field.annotation is bool:
        return not field.default
    if is_number(name):
        return {"max_accuracy_drop": 0.5, "backbone_learning_rate": 0.1, "min_confidence": 0.5}.get(
            name, 2 if field.default in (None, 0, 1) and not 0 < (field.default or 0) < 1 else field.default / 2
        )
    return "somewhere"


def changed(name: str) -> TrainingConfig:
    for value in (other_value(name), 0.5, 1, 3):
        try:
            found = CONFIG.replace(**{name: value, **({"device_decoding": False} if name == "dct_scaling" else {})})
        except ConfigError:
            continue
        if getattr(found, name) != getattr(CONFIG, name):
            return found
    raise AssertionError(f"no other value of {name} is known here")


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_says_what_it_decides(name: str) -> None:
    assert decides(TrainingConfig, name) in Decides


def test_a_setting_that_says_nothing_is_found() -> None:
    class Silent(TrainingConfig):
        loudness: int = 1

    with pytest.raises(ConfigError, match=r"Silent\.loudness must be marked"):
        decides(Silent, "loudness")


@pytest.mark.parametrize("name", sorted(set(FIELDS) - {"engine"}))
def test_only_what_decides_the_outcome_keeps_a_training_from_going_on(name: str) -> None:
    found = differing(THEN, changed(name), CHOICES)
    outcome = decides(TrainingConfig, name) in (Decides.LEARNING, Decides.LENGTH, Decides.CHOICE)
    expected = outcome and name != "patience"
    assert bool(found) is expected, found


def test_where_and_how_it_is_logged_or_computed_is_no_matter() -> None:
    now = CONFIG.replace(
        mlflow_uri="http://127.0.0.1:5000", mlflow_experiment="x", pin_memory=False, device="cpu", log_to="mlflow"
    )
    assert differing(THEN, now, CHOICES) == {}
    assert differing(THEN, CONFIG.replace(precision="fp32"), CHOICES) == {}, "auto stood for it"
    assert differing(THEN, CONFIG.replace(precision="bf16"), CHOICES) == {"precision": ("auto", "bf16")}


@pytest.mark.parametrize("name", sorted(set(FIELDS) - {"data"}))
def test_a_setting_that_came_later_had_its_default_s_effect_before(name: str) -> None:
    older = {key: value for key, value in THEN.items() if key != name}
    assert differing(older, CONFIG, CHOICES) == {}


def test_a_setting_that_came_later_and_is_used_now_is_told() -> None:
    older = {key: value for key, value in THEN.items() if key != "mixup"}
    assert differing(older, CONFIG.replace(mixup=0.2), CHOICES) == {"mixup": (0.0, 0.2)}
    assert differing({**THEN, "gone_since": 3}, CONFIG, CHOICES) == {}


def test_settings_of_another_version_are_read() -> None:
    saved = {**CONFIG.replace(epochs=4).model_dump(mode="json"), "came_later": 1}
    assert TrainingConfig.from_saved(saved).epochs == 4
    request = SearchRequest(name="x", config=saved, space={"epochs": Categorical(1, 2)})
    assert request.config.epochs == 4
    with pytest.raises(ConfigError, match="unknown setting 'came_later'"):
        TrainingConfig(**saved)


def test_a_search_takes_nothing_that_decides_nothing() -> None:
    refused = fields_that_decide(TrainingConfig, Decides.IMAGES, Decides.CHOICE, Decides.RECORDS)
    assert set(NOT_TUNABLE) == refused | {"start_from"}
    for name in ("output", "mlflow_uri", "log_to", "profile"):
        with pytest.raises(ConfigError, match="can't be tuned"):
            checked_space({name: Categorical("a", "b")}, CONFIG)


TEXT_SETTINGS = [
    name
    for name in FIELDS
    if name not in ("architecture", "freeze")  # lists of names, which may be searched
    and not is_number(name)
    and TrainingConfig.model_fields[name].annotation is not bool
    and get_origin(TrainingConfig.model_fields[name].annotation) is not Literal
]


@pytest.mark.parametrize("name", TEXT_SETTINGS)
@pytest.mark.parametrize(
    "text", ["http://127.0.0.1:5000", "sqlite:///a,b.db", "a,b", "C:\\dogs", "1:2", "tensorboard,mlflow", "0.1:0.2:log"]
)
def test_punctuation_in_a_text_setting_is_text(name: str, text: str) -> None:
    assert parse_parameter(name, text) is None


def test_the_command_line_searches_and_logs_at_once() -> None:
    parser = argparse.ArgumentParser()
    tune.add_arguments(parser)
    flags = ["--mlflow-uri", "http://127.0.0.1:5000", "--log-to", "tensorboard,mlflow", "--learning-rate", "0.1:0.2"]
    arguments = parser.parse_args(["dogs", *flags])
    assert take_space(arguments) == {"learning_rate": Continuous(0.1, 0.2)}
    config = training_config(arguments, environment={})
    assert (config.mlflow_uri, config.loggers) == ("http://127.0.0.1:5000", ("mlflow", "tensorboard"))


def test_the_text_settings_are_found() -> None:
    assert {"data", "output", "cache_dir", "weights", "log_to", "mlflow_uri", "mlflow_experiment"} <= set(TEXT_SETTINGS)
    assert parse_parameter("weights", "imagenet1k_v1, none") == Categorical("imagenet1k_v1", "none")
