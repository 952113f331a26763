"""The full state of a training on disk: one checked file at a time, whole or not there, the one before it kept."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from breedclf.files.disk import write_atomic
from breedclf.files.tensor_files import checksum

log: logging.Logger = logging.getLogger(__name__)

FORMAT = "2"
_FIRST_FORMAT = "1"
"""Its checksum leaves types and shapes out; what was written in it is still read."""
KEPT = 2
_NAME = re.compile(r"epoch-\d{5}-step-\d{8}\.safetensors")
_ABOUT = "about"
_CHECKSUM = "checksum"


class DamagedCheckpointError(Exception):
    """A file isn't a whole and unaltered checkpoint of this format."""


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and everything else as plain values; `epochs` are done, and `step` steps of the next one."""

    epochs: int
    step: int
    tensors: Mapping[str, torch.Tensor]
    about: Mapping[str, Any]

    @property
    def file_name(self) -> str:
        """The name by its position, in the order of which files are newer."""
        return f"epoch-{self.epochs:05d}-step-{self.step:08d}.safetensors"

    def part(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors of one part, by their names within it."""
        prefix = f"{name}/"
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}

    def to_bytes(self) -> bytes:
        """A safetensors file whose metadata holds the rest as JSON, with a checksum over both."""
        text = json.dumps({"format": FORMAT, "epochs": self.epochs, "step": self.step, "about": dict(self.about)})
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(self.tensors.items())}
        return save(tensors, metadata={_ABOUT: text, _CHECKSUM: checksum(text, tensors)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read such a file; nothing in it is code.

        Raises:
            DamagedCheckpointError: it is cut short, altered, or of another format.
        """
        try:
            tensors = load(data)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
            text = header[_ABOUT]
            values = json.loads(text)
            if values["format"] not in (_FIRST_FORMAT, FORMAT):
                raise DamagedCheckpointError(f"its format is {values['format']}, not {FORMAT}")
            expected = checksum(text, tensors) if values["format"] == FORMAT else _first_checksum(text, tensors)
            if header[_CHECKSUM] != expected:
                raise DamagedCheckpointError("its checksum is wrong")
            return cls(values["epochs"], values["step"], tensors, values["about"])
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DamagedCheckpointError(f"it can't be read ({error or type(error).__name__})") from error


@dataclass(frozen=True)
class CheckpointFolder:
    """Where a training keeps its last two checkpoints, named by their position."""

    path: Path

    def files(self) -> list[Path]:
        """All of them, the newest first."""
        try:
            names = [entry.name for entry in os.scandir(self.path) if _NAME.fullmatch(entry.name)]
        except OSError:
            return []
        return [self.path / name for name in sorted(names, reverse=True)]

    def load(self) -> Checkpoint | None:
        """The newest whole one; damaged ones are passed over, and told."""
        files: list[Path | None] = [*self.files(), None]
        for file, after in itertools.pairwise(files):
            assert file is not None
            try:
                found = Checkpoint.from_bytes(file.read_bytes())
                if found.file_name != file.name:
                    raise DamagedCheckpointError(f"it is a copy of {found.file_name}")
                return found
            except (DamagedCheckpointError, OSError) as error:
                then = f"going on from the one before it, {after.name}" if after else "there is none before it"
                log.warning("checkpoint %s is damaged: %s; %s", file, error, then)
        return None

    def save(self, checkpoint: Checkpoint) -> bool:
        """Write it beside the last one and remove older ones; with no room for it, the last one stays, with a warning.

        Whether it was written. A process that is killed while writing leaves the files that were there.
        """
        file = self.path / checkpoint.file_name
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomic(file, checkpoint.to_bytes(), sync=True)
        except OSError as error:
            reason = error.strerror or str(error)
            log.warning(
                "the checkpoint can't be written to %s (%s); the training goes on, the last one stays", file, reason
            )
            return False
        for older in self.files()[KEPT:]:
            with suppress(OSError):
                older.unlink()
        return True

    def clear(self) -> None:
        """Remove what another training, or a process that was killed, left here."""
        for file in [*self.files(), *self._parts()]:
            with suppress(OSError):
                file.unlink()

    def _parts(self) -> Iterator[Path]:
        return self.path.glob("*epoch-*.part")


def _first_checksum(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
