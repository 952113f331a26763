"""Features kept on disk, so that a picture passes the frozen part once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from breedclf.files.file_cache import FileCache
from breedclf.files.tensor_files import checksum, save_tensors

FORMAT = "2"


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
    """Features as safetensors, with a checksum over them, the lists beside them, and the key they are found by."""

    what = "features"
    suffix = ".safetensors"

    def _read(self, path: Path) -> Features | None:
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in ("values", "kept")}
        except SafetensorError as error:
            raise ValueError(str(error)) from error
        if about["checksum"] != _checksum(path, about["bad"], tensors):
            return None
        return Features(**tensors, bad={int(at): why for at, why in json.loads(about["bad"]).items()})

    def _write(self, temporary: Path, path: Path, computed: Features) -> Features:
        tensors = {"values": computed.values, "kept": computed.kept}
        bad = json.dumps({str(at): why for at, why in computed.bad.items()})
        save_tensors(tensors, temporary, {"checksum": _checksum(path, bad, tensors), "bad": bad})
        return computed


def _checksum(path: Path, bad: str, tensors: dict[str, torch.Tensor]) -> str:
    return checksum(f"{FORMAT} {path.stem} {bad}", tensors)
