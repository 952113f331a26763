"""Features kept on disk, so that a picture passes the frozen part once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from breedclf.learning.file_cache import FileCache

FORMAT = "1"


@dataclass(frozen=True)
class Features:
    """Features of the readable pictures of a list.

    `values` is float32 [N, D]; `kept` is int64 [N], the position of each row's picture in the list; `bad` maps the
    positions of the others to the reason.
    """

    values: torch.Tensor
    kept: torch.Tensor
    bad: dict[int, str]


class FeatureCache(FileCache[Features]):
    """Features as safetensors, with a checksum."""

    what = "features"
    suffix = ".safetensors"

    def _read(self, path: Path) -> Features | None:
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                values, kept = file.get_tensor("values"), file.get_tensor("kept")
        except SafetensorError as error:
            raise ValueError(str(error)) from error
        if about.get("format") != FORMAT or about.get("checksum") != _checksum(values, kept):
            return None
        return Features(values, kept, {int(at): why for at, why in json.loads(about["bad"]).items()})

    def _write(self, temporary: Path, path: Path, computed: Features) -> Features:  # noqa: ARG002 - they stay in memory
        about = {
            "format": FORMAT,
            "checksum": _checksum(computed.values, computed.kept),
            "bad": json.dumps({str(at): why for at, why in computed.bad.items()}),
        }
        try:
            save_file({"values": computed.values, "kept": computed.kept}, temporary, metadata=about)
        except SafetensorError as error:
            raise OSError(str(error)) from error
        return computed


def _checksum(*tensors: torch.Tensor) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()
