"""The space: what it takes, and the words with which it refuses."""

from __future__ import annotations

import json

import pytest
from pydantic import TypeAdapter

from breedclf.config import TrainingConfig
from breedclf.errors import ConfigError
from breedclf.tuning.flag_values import parse_parameter
from breedclf.tuning.space import Categorical, Continuous, Integer, Space, checked_space, size

CONFIG = TrainingConfig(data="pictures")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: Continuous(0.01, 0.005),
            r"Continuous\(0.01, 0.005\): the range is reversed; write Continuous\(0.005, 0.01\)",
        ),
        (lambda: Continuous(0.01, 0.01), "the range is empty; set the value to 0.01"),
        (lambda: Continuous(0, 1, scaling="log"), "a logarithmic range must be above 0"),
        (lambda: Continuous(float("nan"), 1), "both ends must be finite"),
        (lambda: Continuous(0.1, 1, scaling="logarithm"), "scaling='logarithm': input should be 'linear' or 'log'"),
        (lambda: Integer(3, 2), "reversed"),
        (lambda: Integer(1.5, 3), "low=1.5"),
        (lambda: Integer(0, 8, "log"), "must be above 0"),
        (lambda: Categorical(), "has no value"),
        (lambda: Categorical(32, 32), "32 is listed more than once"),
        (lambda: Categorical([32, 64]), "one by one"),
        (lambda: Categorical(*range(1, 32)), "has 31 values; a tuning job takes at most 30"),
    ],
)
def test_refuses_what_is_no_range_and_no_list_of_choices(make, words) -> None:
    with pytest.raises(ConfigError, match=words):
        make()


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({}, "the space is empty"),
        (
            {"learnin_rate": Continuous(0.1, 1)},
            "unknown parameter 'learnin_rate' in the space: did you mean 'learning_rate'",
        ),
        ({"x" * 33: Continuous(0.1, 1)}, "33 characters; at most 32"),
        ({"data": Categorical("a", "b")}, "'data' can't be tuned: it changes the images"),
        ({"split_seed": Integer(1, 3)}, "couldn't be compared"),
        ({"objective": Categorical("valid_loss", "valid_accuracy")}, "set it as the objective of the tuning job"),
        ({"batch_size": Continuous(32, 64)}, r"write Integer\(32, 64\)"),
        ({"batch_size": [32, 64]}, r"Categorical\(32, 64\)"),
        ({"head": Integer(1, 2)}, "a range is meaningless"),
        ({"learning_rate": Continuous(-1, 1)}, "learning_rate=-1.0: input should be greater than 0"),
        ({"head": Categorical("linear", "lineal")}, "head='lineal'"),
        ({"batch_size": Integer(16, 100_000)}, "batch_size=100000"),
    ],
)
def test_refuses_a_space_that_no_training_can_take(space, words) -> None:
    with pytest.raises(ConfigError, match=words):
        checked_space(space, CONFIG)


def test_counts_parameters_like_the_service() -> None:
    names = [f"parameter_{i}" for i in range(31)]
    with pytest.raises(ConfigError, match="31 tunable parameters; a tuning job takes at most 30"):
        checked_space({name: Integer(1, 2) for name in names}, CONFIG)


@pytest.mark.parametrize(
    ("name", "text", "parameter"),
    [
        ("learning_rate", "0.005:0.01", Continuous(0.005, 0.01)),
        ("learning_rate", "1e-4:1e-1:log", Continuous(1e-4, 1e-1, "log")),
        ("learning_rate", "0.005,0.0075,0.01", Categorical(0.005, 0.0075, 0.01)),
        ("batch_size", "32, 64", Categorical(32, 64)),
        ("epochs", "2:8", Integer(2, 8)),
        ("head", "standardized,linear", Categorical("standardized", "linear")),
        ("deterministic", "true,false", Categorical(True, False)),
        ("learning_rate", "0.005", None),
        ("data", "a,b", None),
    ],
)
def test_reads_the_forms_of_the_command_line(name, text, parameter) -> None:
    assert parse_parameter(name, text) == parameter


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("learning_rate", "0.01:0.005", "learning_rate: .*reversed"),
        ("learning_rate", "0:1:log", "must be above 0"),
        ("learning_rate", ":0.01", "a range is low:high"),
        ("learning_rate", "0.1:0.2:0.3", "a range is low:high"),
        ("learning_rate", "0.1,", "a choice is missing"),
        ("learning_rate", "0.1,x", "'x' is not a number"),
        ("epochs", "2,2.5", "'2.5' is not a whole number"),
        ("head", "a:b", "isn't numeric"),
        ("learning_rate", "0.1:0.2,0.3", "not both"),
        ("deterministic", "true,maybe", "must be true or false"),
    ],
)
def test_says_what_is_wrong_with_a_flag(name, text, words) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_parameter(name, text)


def test_a_weights_file_with_a_comma_in_its_name_is_one_file(tmp_path) -> None:
    file = tmp_path / "a,b:c.pth"
    file.touch()
    assert parse_parameter("weights", str(file)) is None
    assert parse_parameter("weights", "IMAGENET1K_V1,IMAGENET1K_V2") == Categorical("IMAGENET1K_V1", "IMAGENET1K_V2")


def test_a_range_covers_its_ends_and_a_logarithm_its_decades() -> None:
    assert [Continuous(0.0, 2.0).at(share) for share in (0, 0.5, 1)] == [0, 1, 2]
    assert Continuous(1e-4, 1e-2, "log").at(0.5) == pytest.approx(1e-3)
    counts = [Integer(1, 4).at(i / 1_000) for i in range(1_001)]
    assert all(240 < counts.count(value) < 260 for value in (1, 2, 3, 4))
    assert {Integer(1, 100, "log").at(i / 1_000) for i in range(1_001)} >= {1, 2, 10, 100}


def test_a_space_survives_json_with_its_types() -> None:
    space: Space = {
        "learning_rate": Continuous(1, 2, "log"),
        "batch_size": Categorical(32, 64),
        "epochs": Integer(1, 9),
    }
    adapter = TypeAdapter(Space)
    again = adapter.validate_python(json.loads(json.dumps(adapter.dump_python(space, mode="json"))))
    assert again == space
    assert size(space) is None
    assert size({"batch_size": Categorical(32, 64), "epochs": Integer(1, 9)}) == 18
