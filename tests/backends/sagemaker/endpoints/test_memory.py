"""Serverless endpoints and models that are too large for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from breedclf.backends.sagemaker.endpoints.memory import check_memory
from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.errors import ConfigError

OWN = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/breeds:1"


def test_a_model_that_cannot_be_loaded_is_refused_before_anything_is_uploaded(tmp_path: Path) -> None:
    (tmp_path / "breedclf.json").write_text('{"architecture": "regnet_y_32gf"}')
    (tmp_path / "model.safetensors").touch()
    os.truncate(tmp_path / "model.safetensors", 540 << 20)
    with pytest.raises(ConfigError, match="serverless_memory_mb=1024: regnet_y_32gf needs about 1106 MB to start"):
        check_memory(tmp_path, SageMakerSettings(serving_image=OWN, serverless_memory_mb=1024))
    check_memory(tmp_path, SageMakerSettings(serving_image=OWN, serverless_memory_mb=2048))
    check_memory(tmp_path, SageMakerSettings(serving_image=OWN))
    (tmp_path / "feature_bank.safetensors").touch()
    os.truncate(tmp_path / "feature_bank.safetensors", 400 << 20)
    with pytest.raises(ConfigError, match="serverless_memory_mb=2048: regnet_y_32gf needs about 2106 MB to start"):
        check_memory(tmp_path, SageMakerSettings(serving_image=OWN, serverless_memory_mb=2048))
    check_memory(tmp_path / "nothing", SageMakerSettings(serving_image=OWN, serverless_memory_mb=1024))
