"""Every old name still works wherever the new one does, is never shown, and can't be combined with the new one."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from breedclf import Categorical, TrainingConfig, TuningJob
from breedclf.cli import _parser, main
from breedclf.cli.flags import training_config
from breedclf.config import Settings
from breedclf.config.aliases import (
    FLAGS,
    KEYWORDS,
    SETTINGS,
    VALUES,
    accept_old_keywords,
    all_flags,
    renamed_flags,
    renamed_settings,
)
from breedclf.demo import DemoConfig
from breedclf.errors import ConfigError
from breedclf.training.checkpoints.resume import differing
from breedclf.tuning.search_request import SearchRequest

SAMPLES: dict[str, Any] = {"gradient_accumulation_steps": 4, "decoded_cache": True, "train_images": 5}
MODELS: dict[str, tuple[type[Settings], dict[str, Any]]] = {
    name: (DemoConfig, {}) if name in DemoConfig.model_fields else (TrainingConfig, {"data": "dogs"})
    for name in SETTINGS.values()
}
OF_TRAINING = [(old, new) for old, new in SETTINGS.items() if MODELS[new][0] is TrainingConfig]
OLD_VALUES = [(name, old, new) for name, values in VALUES.items() for old, new in values.items()]


def parsed(*words: str) -> argparse.Namespace:
    return _parser(words).parse_args(renamed_flags(words))


@pytest.mark.parametrize(("old", "new"), SETTINGS.items())
def test_an_old_setting_is_accepted_as_a_keyword(old: str, new: str) -> None:
    model, needed = MODELS[new]
    assert model(**needed, **{old: SAMPLES[new]}) == model(**needed, **{new: SAMPLES[new]})
    assert getattr(model(**needed).replace(**{old: SAMPLES[new]}), new) == SAMPLES[new]
    with pytest.raises(ConfigError, match=f"{old} is the old name of {new}: give only {new}"):
        model(**needed, **{old: SAMPLES[new], new: SAMPLES[new]})


@pytest.mark.parametrize(("old", "new"), OF_TRAINING)
@pytest.mark.parametrize("suffix", ["yaml", "toml", "json"])
def test_an_old_setting_is_accepted_in_a_file(old: str, new: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"settings.{suffix}"
    TrainingConfig(data="dogs", **{new: SAMPLES[new]}).to_file(path)
    path.write_text(path.read_text().replace(new, old))
    assert getattr(TrainingConfig.from_file(path), new) == SAMPLES[new]
    assert getattr(TrainingConfig.from_file(path, **{new: type(SAMPLES[new])(1)}), new) == 1, "keywords win"


@pytest.mark.parametrize(("old", "new"), OF_TRAINING)
def test_an_old_setting_is_accepted_in_the_environment(old: str, new: str) -> None:
    variables = {f"BREEDCLF_{old.upper()}": str(SAMPLES[new])}
    assert TrainingConfig.environment(variables) == {new: str(SAMPLES[new])}
    with pytest.raises(ConfigError, match=f"{old} is the old name of {new}"):
        TrainingConfig.environment({**variables, f"BREEDCLF_{new.upper()}": "1"})


@pytest.mark.parametrize(("old", "new"), OF_TRAINING)
def test_an_old_setting_is_accepted_as_a_hyperparameter(old: str, new: str) -> None:
    pairs = TrainingConfig(data="dogs", **{new: SAMPLES[new]}).to_hyperparameters()
    assert old not in pairs
    pairs[old] = pairs.pop(new)
    assert getattr(TrainingConfig.from_hyperparameters(pairs), new) == SAMPLES[new]
    assert getattr(TrainingConfig.from_saved({**pairs, "of_a_later_version": 1}), new) == SAMPLES[new]


@pytest.mark.parametrize(("old", "new"), OF_TRAINING)
def test_flags_win_over_the_environment_and_the_file_under_either_name(old: str, new: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({old: SAMPLES[new]}))
    words = ["train", "dogs", "--config", str(path)]
    assert getattr(training_config(parsed(*words), environment={}), new) == SAMPLES[new]
    variables = {f"BREEDCLF_{old.upper()}": "1"}
    assert getattr(training_config(parsed(*words), environment=variables), new) == 1
    flag = "--" + old.replace("_", "-")
    given = [flag] if SAMPLES[new] is True else [f"{flag}={SAMPLES[new]}"]
    assert getattr(training_config(parsed(*words, *given), environment=variables), new) == SAMPLES[new]


@pytest.mark.parametrize(("name", "old", "new"), OLD_VALUES)
def test_an_old_value_is_accepted(name: str, old: str, new: str) -> None:
    assert TrainingConfig(data="dogs", **{name: old}) == TrainingConfig(data="dogs", **{name: new})
    assert getattr(training_config(parsed("train", "dogs", f"--{name}", old), environment={}), name) == new
    assert getattr(training_config(parsed("train", "dogs"), environment={f"BREEDCLF_{name.upper()}": old}), name) == new
    assert getattr(TrainingConfig.from_hyperparameters({"data": "dogs", name: old}), name) == new


@pytest.mark.parametrize("old", all_flags())
def test_an_old_flag_becomes_the_new_one(old: str, capsys: pytest.CaptureFixture[str]) -> None:
    new = all_flags()[old]
    assert renamed_flags(["x", old, "1", f"{old}=2", "--", old]) == ["x", new, "1", f"{new}=2", "--", old]
    assert main(["deploy", "model", old, new]) == 2
    assert f"{old} is the old name of {new}: give only {new}" in capsys.readouterr().err


@pytest.mark.parametrize("old", FLAGS)
def test_an_old_flag_of_a_command_is_parsed_and_hidden(old: str, capsys: pytest.CaptureFixture[str]) -> None:
    new = FLAGS[old]
    assert vars(parsed("deploy", "model", f"{old}=7"))[new.removeprefix("--").replace("-", "_")] == 7
    with pytest.raises(SystemExit):
        main(["deploy", "--help"])
    words = capsys.readouterr().out.split()
    assert new in words
    assert old not in words


@pytest.mark.parametrize("old", KEYWORDS)
def test_an_old_keyword_is_accepted(old: str) -> None:
    new = KEYWORDS[old]
    scope: dict[str, Any] = {}
    exec(f"def function(first=0, *, {new}=0): return first, {new}", scope)
    function = accept_old_keywords(scope["function"])
    assert function(1, **{old: 2}) == function(1, **{new: 2}) == (1, 2)
    with pytest.raises(ConfigError, match=f"{old} is the old name of {new}"):
        function(**{old: 1, new: 1})
    with pytest.raises(TypeError, match="unknown"):
        function(unknown=1)


def test_help_shows_no_old_name(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("train", "tune", "profile", "demo"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        out = capsys.readouterr().out
        assert [old for old in all_flags() if old in out.split()] == []
        assert "standardised" not in out


def test_a_search_takes_old_names(tmp_path: Path) -> None:
    config = TrainingConfig(data=tmp_path)
    space = {"accumulate": Categorical(1, 2), "learning_rate": Categorical(0.1, 0.2)}
    tuned = TuningJob(config, space, home=tmp_path)._request.space
    assert set(tuned) == {"gradient_accumulation_steps", "learning_rate"}
    request = SearchRequest(name="x", config=config, space=space)  # type: ignore[arg-type]
    saved = request.model_dump_json().replace("gradient_accumulation_steps", "accumulate")
    assert SearchRequest(**json.loads(saved)) == request


def test_a_checkpoint_of_the_old_spelling_resumes() -> None:
    config = TrainingConfig(data="dogs", gradient_accumulation_steps=2)
    then = config.model_dump(mode="json")
    for old, new in OF_TRAINING:
        then[old] = then.pop(new)
    then["head"] = "standardised"
    assert differing(then, config) == {}
    assert set(differing(then, config.replace(gradient_accumulation_steps=4))) == {"gradient_accumulation_steps"}


def test_other_names_and_values_stay() -> None:
    assert renamed_settings({"epochs": 2, "head": "linear", "data": "standardised"}) == {
        "epochs": 2,
        "head": "linear",
        "data": "standardised",
    }
