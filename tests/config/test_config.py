"""One set of settings, many spellings: Python, files, flags, environment and hyperparameters all say the same."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from breedclf.cli.flags import add_settings_flags, given_settings, training_config
from breedclf.config import ENVIRONMENT_PREFIX, TrainingConfig, read_settings
from breedclf.errors import ConfigError

SUFFIXES = (".yaml", ".yml", ".toml", ".json")


def _paths() -> st.SearchStrategy[Path]:
    """Paths as users name them, awkward ones too, without control characters; "none" stands for an absent value."""
    characters = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="'")
    awkward = st.sampled_from(
        ["12", "true", "null", "1e3", "no", "~", "0x10", "a b", "ä/ö", "[1]", '"', '"x"', "#", "- a"]
    )
    return (
        st.one_of(awkward, st.text(characters, min_size=1, max_size=20))
        .map(Path)
        .filter(lambda path: str(path).strip().lower() not in ("", "none", "null"))
    )


def _valid_fields() -> st.SearchStrategy[dict[str, Any]]:
    """Any valid set of settings; a field that is left out keeps its default."""
    seeds = st.integers(0, 2**63 - 1)
    optional: dict[str, st.SearchStrategy[Any]] = {
        "labels": st.none() | _paths(),
        "architecture": st.sampled_from(["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]),
        "weights": st.sampled_from(["IMAGENET1K_V1", "IMAGENET1K_V2", "none"]) | _paths().map(str),
        "accept_license": st.booleans(),
        "start_from": st.none(),  # excludes weights; it has tests of its own
        "epochs": st.integers(1, 10_000),
        "batch_size": st.integers(1, 65_536),
        "learning_rate": st.floats(0, 100, exclude_min=True),
        "momentum": st.floats(0, 1, exclude_max=True),
        "weight_decay": st.floats(0, 1),
        "freeze": st.sampled_from(["head", "layer4", "none"]),
        "backbone_learning_rate": st.none() | st.floats(0, 100, exclude_min=True),
        "layer_decay": st.floats(0, 1, exclude_min=True),
        "optimizer": st.sampled_from(["sgd", "adamw"]),
        "schedule": st.sampled_from(["auto", "constant", "cosine", "one_cycle"]),
        "warmup_epochs": st.none() | st.floats(0, 10_000),
        "label_smoothing": st.floats(0, 1, exclude_max=True),
        "class_weights": st.sampled_from(["none", "balanced"]),
        "augment": st.sampled_from(["auto", "none", "crop"]),
        "mixup": st.floats(0, 10),
        "ema": st.floats(0, 1, exclude_max=True),
        "patience": st.none() | st.integers(1, 10_000),
        "clip_norm": st.none() | st.floats(0, exclude_min=True, allow_infinity=False),
        "gradient_accumulation_steps": st.just(1),
        "batch_norm": st.sampled_from(["auto", "fixed", "trained"]),
        "head": st.sampled_from(["standardized", "linear"]),
        "objective": st.sampled_from(["valid_loss", "valid_accuracy"]),
        "seed": seeds,
        "views": st.integers(1, 1_000),
        "view_seed": seeds,
        "on_bad_image": st.sampled_from(["error", "skip"]),
        "valid_share": st.floats(0.01, 0.5),
        "test_share": st.floats(0, 0.49),
        "split_seed": seeds,
        "feature_cache": st.booleans(),
        "cache_dir": st.none() | _paths(),
        "verify_files": st.booleans(),
        "feature_store": st.none() | st.sampled_from(["store", "s3://bucket/prefix"]),
        "output": _paths(),
        "checkpoints": st.booleans(),
        "resume": st.booleans(),
        "device": st.sampled_from(["auto", "cpu", "cuda", "mps"]),
        "precision": st.sampled_from(["auto", "fp32", "bf16"]),
        "engine": st.just("torch"),
        "device_decoding": st.just(False),
        "max_accuracy_drop": st.floats(0, 1, exclude_min=True, exclude_max=True),
        "workers": st.none() | st.integers(0, 256),
        "chunk_size": st.integers(1, 4_096),
        "pin_memory": st.booleans(),
        "channels_last": st.booleans(),
        "compile_network": st.booleans(),
        "decoded_cache": st.booleans(),
        "dct_scaling": st.booleans(),
        "activation_checkpointing": st.just(False),
        "deterministic": st.booleans(),
        "profile": st.sampled_from(["off", "timers", "full"]),
        # Another loss can't be combined with two of the settings above.
        "loss": st.just("cross_entropy"),
        "sampler": st.sampled_from(["shuffle", "mycode:balanced", "code/mycode.py:balanced"]),
        "metrics": st.sampled_from(["none", "mycode:top2", "mycode:top2,f1=pack.metrics:F1"]),
        "log_to": st.sampled_from(["none", "tensorboard", "mlflow", "mlflow,tensorboard"]),
        "mlflow_uri": st.none() | _paths().map(str),
        "mlflow_experiment": st.none() | _paths().map(str),
        "calibration": st.booleans(),
        "feature_bank": st.booleans(),
        "min_confidence": st.none() | st.floats(0, 1, exclude_min=True, exclude_max=True),
    }
    return st.fixed_dictionaries({"data": _paths()}, optional=optional)


def _as_flags(values: dict[str, Any]) -> list[str]:
    words = []
    for name, value in values.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words.append(f"--{flag}={value}")
    return words


def _parsed(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_settings_flags(parser, TrainingConfig, {"settings": TrainingConfig.model_fields})
    parser.add_argument("--config", type=Path)
    return parser.parse_args(words)


anything_valid = given(fields=_valid_fields())
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@anything_valid
def test_every_field_is_tried(fields: dict[str, Any]) -> None:
    TrainingConfig(**fields)
    every = {"data", *_valid_fields().wrapped_strategy.optional}  # type: ignore[attr-defined]
    assert every == set(TrainingConfig.model_fields), "a new field needs a line in _valid_fields"


@pytest.mark.parametrize("suffix", SUFFIXES)
@quick
@anything_valid
def test_a_file_round_trips(fields: dict[str, Any], suffix: str, tmp_path: Path) -> None:
    config, path = TrainingConfig(**fields), tmp_path / f"settings{suffix}"
    config.to_file(path)
    assert TrainingConfig.from_file(path) == config


@quick
@anything_valid
def test_a_plain_dictionary_round_trips(fields: dict[str, Any]) -> None:
    config = TrainingConfig(**fields)
    assert TrainingConfig(**config.to_dict()) == config
    assert TrainingConfig(**json.loads(json.dumps(config.to_dict()))) == config


@quick
@anything_valid
def test_flags_say_the_same(fields: dict[str, Any]) -> None:
    config = TrainingConfig(**fields)
    assert training_config(_parsed(_as_flags(config.to_dict())), environment={}) == config


@quick
@anything_valid
def test_the_environment_says_the_same(fields: dict[str, Any]) -> None:
    config = TrainingConfig(**fields)
    variables = {ENVIRONMENT_PREFIX + name.upper(): str(value) for name, value in config.to_dict().items()}
    assert TrainingConfig(**TrainingConfig.environment(variables)) == config


def _raw(pairs: dict[str, str]) -> dict[str, Any]:
    """Text exactly as it was sent."""
    return dict(pairs)


def _decoded(pairs: dict[str, str]) -> dict[str, Any]:
    """Each value read as JSON where it is JSON, which the training container does."""
    decoded: dict[str, Any] = {}
    for name, text in pairs.items():
        try:
            decoded[name] = json.loads(text)
        except ValueError:
            decoded[name] = text
    return decoded


def _capitalised(pairs: dict[str, str]) -> dict[str, Any]:
    """Booleans in Python's spelling."""
    return {name: {"true": "True", "false": "False"}.get(text, text) for name, text in pairs.items()}


def _quoted(pairs: dict[str, str]) -> dict[str, Any]:
    """Every value as a JSON string, which categorical tuning parameters are."""
    return {name: text if text.startswith('"') and text.endswith('"') else f'"{text}"' for name, text in pairs.items()}


def _dashed(pairs: dict[str, str]) -> dict[str, Any]:
    """Dashes in names, and the names that a job adds for itself."""
    own = {name.replace("_", "-"): text for name, text in pairs.items()}
    return {**own, "sagemaker_program": '"train.py"', "_tuning_objective_metric": "valid_loss"}


@pytest.mark.parametrize("spelling", [_raw, _decoded, _capitalised, _dashed])
@quick
@anything_valid
def test_hyperparameters_round_trip_in_every_spelling(fields: dict[str, Any], spelling: Any) -> None:
    config = TrainingConfig(**fields)
    assume(not any(str(value).startswith('"') for value in fields.values()))  # refused, see below
    pairs = config.to_hyperparameters()
    assert all(isinstance(text, str) for text in pairs.values())
    assert TrainingConfig.from_hyperparameters(spelling(pairs)) == config


def test_hyperparameters_are_read_with_quotes_around_them() -> None:
    config = TrainingConfig(data="dogs", epochs=2, learning_rate=0.01, deterministic=True, head="linear")
    assert TrainingConfig.from_hyperparameters(_quoted(config.to_hyperparameters())) == config


def test_hyperparameters_lose_against_overrides() -> None:
    pairs = TrainingConfig(data="elsewhere", epochs=2).to_hyperparameters()
    assert TrainingConfig.from_hyperparameters(pairs, data="here").data == Path("here")


def test_a_single_quote_is_refused_in_hyperparameters() -> None:
    with pytest.raises(ConfigError, match=r"output=.*O'Hara.* contains a single quote"):
        TrainingConfig(data="d", output=Path("O'Hara")).to_hyperparameters()


def test_a_leading_double_quote_is_refused_in_hyperparameters() -> None:
    with pytest.raises(ConfigError, match="starts with a quote"):
        TrainingConfig(data='"dogs"').to_hyperparameters()


def test_an_overlong_hyperparameter_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"hyperparameter output has 2501 characters.* at most 2500"):
        TrainingConfig(data="d", output=Path("a" * 2501)).to_hyperparameters()


def test_settings_are_frozen_and_replaced_by_a_checked_copy() -> None:
    config = TrainingConfig(data="d", epochs=2)
    with pytest.raises(Exception, match="frozen"):
        config.epochs = 3  # type: ignore[misc]
    assert config.replace(epochs=5).epochs == 5
    assert config.epochs == 2
    with pytest.raises(ConfigError, match="epochs=0"):
        config.replace(epochs=0)


@pytest.mark.parametrize("spelling", ["imagenet1k_v1", "IMAGENET1K_V1"])
def test_weights_names_are_read_in_any_case(spelling: str) -> None:
    assert TrainingConfig(data="d", weights=spelling).weights == "IMAGENET1K_V1"


@pytest.mark.parametrize("spelling", ["none", "None", None])
def test_no_weights_has_several_spellings(spelling: str | None) -> None:
    assert TrainingConfig(data="d", weights=spelling).weights == "none"


def test_numbers_in_yaml_may_be_written_as_people_write_them(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("data: dogs\nlearning_rate: 1e-3\nfeature_cache: off\nworkers: null\n", encoding="utf-8")
    config = TrainingConfig.from_file(path)
    assert (config.learning_rate, config.feature_cache, config.workers) == (0.001, False, None)


# What wins: defaults < file < environment < flags.


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('data = "from-file"\nepochs = 4\nbatch_size = 8\nseed = 1\n', encoding="utf-8")
    arguments = _parsed(["--config", str(path), "--epochs", "6"])
    environment = {"BREEDCLF_EPOCHS": "5", "BREEDCLF_BATCH_SIZE": "16", "BREEDCLF_HOME": "elsewhere", "PATH": "/bin"}
    config = training_config(arguments, environment=environment, seed=9, views=2)
    assert (config.epochs, config.batch_size, config.seed, config.views) == (6, 16, 1, 2)
    assert config.data == Path("from-file")


def test_a_flag_that_is_not_given_leaves_no_trace() -> None:
    assert given_settings(_parsed([]), TrainingConfig) == {}


# Bad input: the message says what, which value, and what to do.


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"^unknown setting 'epoch': did you mean 'epochs'\?$"):
        TrainingConfig(data="d", epoch=2)


def test_an_unknown_key_that_is_near_to_nothing_lists_the_valid_names() -> None:
    with pytest.raises(ConfigError, match="unknown setting 'zzzz': valid names are accept_license, act"):
        TrainingConfig(data="d", zzzz=2)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainingConfig(epochs=0, learning_rate="fast", head="liner")
    lines = str(caught.value).splitlines()
    assert lines == [
        "epochs=0: input should be greater than or equal to 1",
        "learning_rate='fast': input should be a valid number, unable to parse string as a number",
        "head='liner': input should be 'standardized', 'whitened' or 'linear'",
    ]


def test_shares_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^valid_share 0.6 and test_share 0.5 leave nothing to train on"):
        TrainingConfig(data="d", valid_share=0.6, test_share=0.5)


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("field", ["epochs", "learning_rate", "workers"])
def test_a_number_is_not_yes_or_no(field: str, value: bool) -> None:
    with pytest.raises(ConfigError, match=f"^{field}={value}: "):
        TrainingConfig(data="d", **{field: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_is_finite(value: float) -> None:
    with pytest.raises(ConfigError, match=r"^learning_rate="):
        TrainingConfig(data="d", learning_rate=value)


def test_a_misspelt_environment_variable_is_refused() -> None:
    with pytest.raises(ConfigError, match="BREEDCLF_EPOCH: did you mean BREEDCLF_EPOCHS"):
        TrainingConfig.environment({"BREEDCLF_EPOCH": "2"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("missing.yaml", None, "missing.yaml can't be read"),
        ("broken.yaml", "data: [1", "broken.yaml is not valid YAML"),
        ("broken.toml", "data = ", "broken.toml is not valid TOML"),
        ("broken.json", "{", "broken.json is not valid JSON"),
        ("list.json", "[1]", "list.json must contain a table of settings, not list"),
        ("settings.ini", "", r"settings.ini: use .yaml, .toml or .json, not '.ini'"),
    ],
)
def test_a_bad_settings_file_is_refused(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_settings(tmp_path / name)


def test_an_empty_yaml_file_says_that_it_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing yet\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="must contain a table of settings"):
        read_settings(path)
