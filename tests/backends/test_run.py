"""What a job reads from its environment, in every spelling, and how it ends when that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from breedclf import TrainingConfig
from breedclf.run import JobEnvironment, run

SPELLINGS = {
    "toolkit": {"epochs": 2, "learning_rate": 0.01, "head": "linear", "feature_cache": False, "weights": "none"},
    "plain text": {
        "epochs": "2",
        "learning_rate": "0.01",
        "head": "linear",
        "feature_cache": "false",
        "weights": "none",
    },
    "quoted": {
        "epochs": '"2"',
        "learning_rate": '"0.01"',
        "head": '"linear"',
        "feature_cache": '"False"',
        "weights": '"none"',
    },
    "python": {"epochs": "2", "learning_rate": "1e-2", "head": "linear", "feature_cache": "False", "weights": None},
    "dashes": {"epochs": 2, "learning-rate": 0.01, "head": "linear", "feature-cache": False, "weights": "none"},
    "reserved": {
        "epochs": 2,
        "learning_rate": 0.01,
        "head": "linear",
        "feature_cache": False,
        "weights": "none",
        "sagemaker_program": "train.py",
        "sagemaker_torch_distributed_enabled": True,
        "_tuning_objective_metric": "valid_loss",
    },
}


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "images").mkdir()
    return {
        "SM_HPS": "{}",
        "SM_CHANNEL_TRAINING": str(tmp_path / "images"),
        "SM_CHANNEL_CODE": str(tmp_path),
        "SM_CHANNEL_SM_DRIVERS": str(tmp_path),
        "SM_MODEL_DIR": str(tmp_path / "model"),
        "SM_OUTPUT_DIR": str(tmp_path / "output"),
        "SM_OUTPUT_DATA_DIR": str(tmp_path / "output" / "data"),
    }


def reason(tmp_path: Path) -> str:
    return (tmp_path / "output" / "failure").read_text()


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_gives_the_same_settings(variables: dict[str, str], spelling: str) -> None:
    variables["SM_HPS"] = json.dumps(SPELLINGS[spelling])
    config = JobEnvironment.read(variables).training_config()
    assert (config.epochs, config.learning_rate, config.head, config.feature_cache, config.weights) == (
        2,
        0.01,
        "linear",
        False,
        "none",
    )


def test_settings_survive_the_way_through_hyperparameters(variables: dict[str, str]) -> None:
    sent = TrainingConfig(data="elsewhere", epochs=7, weights="IMAGENET1K_V2", deterministic=True, workers=3)
    pairs = {name: value for name, value in sent.to_hyperparameters().items() if name not in ("data", "output")}
    variables["SM_HPS"] = json.dumps(pairs)
    got = JobEnvironment.read(variables).training_config()
    assert got.replace(data=sent.data, output=sent.output) == sent


def test_the_configuration_file_serves_where_sm_hps_is_missing(variables: dict[str, str], tmp_path: Path) -> None:
    del variables["SM_HPS"]
    (tmp_path / "hyperparameters.json").write_text('{"epochs": "5"}')
    variables["SM_INPUT_CONFIG_DIR"] = str(tmp_path)
    assert JobEnvironment.read(variables).training_config().epochs == 5


def test_weights_come_from_their_channel(variables: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "resnet.pth").write_bytes(b"")
    variables["SM_CHANNEL_WEIGHTS"] = str(tmp_path / "weights")
    assert JobEnvironment.read(variables).training_config().weights == str(tmp_path / "weights" / "resnet.pth")
    (tmp_path / "weights" / "another.pth").write_bytes(b"")
    assert run(variables) == 1
    assert "channel 'weights' must hold one file; it holds 2" in reason(tmp_path)


def test_an_unknown_hyperparameter_fails_the_job_with_the_nearest_name(
    variables: dict[str, str], tmp_path: Path
) -> None:
    assert run({**variables, "SM_HPS": '{"learning_rat": 0.1}'}) == 1
    assert reason(tmp_path) == "unknown setting 'learning_rat': did you mean 'learning_rate'?"


def test_a_long_reason_is_cut(variables: dict[str, str], tmp_path: Path) -> None:
    assert run({**variables, "SM_HPS": json.dumps({"x" * 3000: 1})}) == 1
    assert len(reason(tmp_path)) == 1024


def test_no_data_channel_fails_the_job(variables: dict[str, str], tmp_path: Path) -> None:
    del variables["SM_CHANNEL_TRAINING"]
    assert run(variables) == 1
    assert reason(tmp_path) == "the job has no channel 'training', which must hold the images"


@pytest.mark.parametrize("more", [{"WORLD_SIZE": "2"}, {"SM_HOSTS": '["algo-1", "algo-2"]'}])
def test_several_processes_are_refused(variables: dict[str, str], tmp_path: Path, more: dict[str, str]) -> None:
    assert run({**variables, **more}) == 1
    assert "the job runs as 2 processes that torchrun didn't start" in reason(tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_gpu_that_cuda_can_not_use_fails_the_job(variables: dict[str, str], tmp_path: Path) -> None:
    assert run({**variables, "SM_NUM_GPUS": "1"}) == 1
    assert "the job has 1 GPU(s), but CUDA can't use them" in reason(tmp_path)


def test_outside_of_a_job_it_says_what_it_is(caplog: pytest.LogCaptureFixture) -> None:
    assert run({}) == 1
    assert "the environment has no SM_MODEL_DIR: this module runs only inside a job" in caplog.text
