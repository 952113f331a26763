"""State dicts in files: safetensors, or torch files that hold nothing but tensors."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

from breedclf.config import WEIGHTS_NAMES
from breedclf.errors import WeightsError
from breedclf.models.backbones.backbone import StateDict
from breedclf.models.download import REMEDY

_CONTAINERS = ("state_dict_ema", "model_ema", "state_dict", "model", "model_state_dict", "teacher")
"""The keys of a checkpoint below which the weights are; a moving average comes before the last ones."""
_ZIP_MAGIC = b"PK\x03\x04"


def read_state(path: Path) -> StateDict:
    """Read a state dict from safetensors or from a torch file that contains only tensors.

    Raises:
        WeightsError: the file is missing, isn't a state dict, or would run code when loaded.
    """
    if not path.is_file():
        raise WeightsError(f"weights file {path} does not exist; use one of {', '.join(WEIGHTS_NAMES)} or a file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        _check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"weights file {path} holds pickled code or objects and is refused, since loading it could run that code; "
            "save a plain state dict (torch.save(model.state_dict(), ...)) or safetensors"
        ) from error
    except WeightsError:
        raise
    except Exception as error:  # given a foreign file, a reader may raise anything
        raise WeightsError(f"weights file {path} can't be read as a state dict: {_first_line(error)}") from error
    if isinstance(state, Mapping):
        state = next((state[name] for name in _CONTAINERS if isinstance(state.get(name), Mapping)), state)
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"weights file {path} holds no state dict (a mapping of names to tensors)")
    return dict(state)


def _check_archive(path: Path) -> None:
    """Verify the checksums that torch writes but doesn't check on loading; files from before torch 1.6 have none."""
    with path.open("rb") as file:
        if file.read(len(_ZIP_MAGIC)) != _ZIP_MAGIC:
            return
    try:
        with zipfile.ZipFile(path) as archive:
            if not any(member.CRC for member in archive.infolist()):
                return  # saved under torch.serialization.set_crc32_options(False)
            damaged = archive.testzip()
    except Exception as error:  # zipfile may raise anything too
        raise WeightsError(f"weights file {path} is damaged: {_first_line(error)}; {REMEDY}") from error
    if damaged is not None:
        raise WeightsError(f"weights file {path} is damaged: the checksum of {damaged} is wrong; {REMEDY}")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
