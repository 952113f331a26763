"""Whether a serverless endpoint has the memory to load a model, before it is created."""

from __future__ import annotations

import math
from pathlib import Path

from breedclf.backends.sagemaker.settings import SageMakerSettings
from breedclf.errors import ConfigError
from breedclf.files.model_folder import BANK_FILE, WEIGHTS_FILE, architecture_of

# The least memory with which a server answers, measured with networks of 43 to 540 MB.
_SERVER_MB = 350
_MB_PER_WEIGHTS_MB = 1.4
_MB_PER_BANK_MB = 2.5  # its rows are stored in half precision and computed with in float32


def check_memory(artifact: Path, settings: SageMakerSettings) -> None:
    """Refuse a serverless endpoint with too little memory for a model; a folder without a model is left to others.

    Raises:
        ConfigError: the memory is too little.
    """
    weights = artifact / WEIGHTS_FILE
    if settings.serverless_memory_mb is None or not weights.is_file():
        return
    bank = artifact / BANK_FILE
    bank_bytes = bank.stat().st_size if bank.is_file() else 0
    loaded_bytes = _MB_PER_WEIGHTS_MB * weights.stat().st_size + _MB_PER_BANK_MB * bank_bytes
    needed = math.ceil(_SERVER_MB + loaded_bytes / 2**20)
    if needed > settings.serverless_memory_mb:
        raise ConfigError(
            f"serverless_memory_mb={settings.serverless_memory_mb}: {architecture_of(artifact)} needs about {needed} MB"
            " to start; raise serverless_memory_mb, use a machine (leave it out), or choose a smaller network"
        )
