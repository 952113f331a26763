"""SageMaker backends that use an emulator, with short polling times and any container image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from breedclf.backends.emulator.server import Emulator
from breedclf.backends.sagemaker.backend import SageMakerBackend

ROLE = "arn:aws:iam::123456789012:role/breedclf"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.14-cpu-amzn2023-sagemaker"


def backend_at(emulator: Emulator, bucket: str, home: Path, **settings: Any) -> SageMakerBackend:
    """A backend that polls the emulator every 0.1 seconds."""
    values: dict[str, Any] = {
        "image": IMAGE,
        "poll_seconds": 0.1,
        "delay_seconds": 0,
        "region": "us-east-1",
        **settings,
    }
    return SageMakerBackend(ROLE, bucket, endpoint_url=emulator.url, session=emulator.session(), home=home, **values)
