"""Write tensors to safetensors files, and compute checksums of tensors."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file.

    Raises:
        OSError: the file can't be written.
    """
    try:
        save_file({name: each.detach().cpu().contiguous() for name, each in tensors.items()}, path, metadata=metadata)
    except SafetensorError as error:
        if found := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error
        raise OSError(str(error)) from error


def checksum(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """A hash of the text and of the name, dtype, shape and values of every tensor."""
    digest = hashlib.blake2b(f"{len(text)} {text}".encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
