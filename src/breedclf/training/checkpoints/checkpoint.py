"""Checkpoints: the full state of a training run, written atomically and verified when read."""

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

from breedclf.errors import ConfigError
from breedclf.files.disk import write_atomic
from breedclf.files.tensor_files import checksum

log: logging.Logger = logging.getLogger(__name__)

FORMAT = "2"
_FIRST_FORMAT = "1"
"""Its checksum doesn't cover types and shapes; files in this format are still read."""
KEPT = 2
_NAME = re.compile(r"epoch-\d{5}-step-\d{8}\.safetensors")
_ABOUT = "about"
_CHECKSUM = "checksum"
_OLD_HEAD = "fc.weight"
"""Where the head was in a module with trained stages when all networks were ResNets."""


class DamagedCheckpointError(Exception):
    """A file isn't a complete and unmodified checkpoint of this format."""


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and all else as plain values, after `epochs` epochs and `step` steps of the next one."""

    epochs: int
    step: int
    tensors: Mapping[str, torch.Tensor]
    about: Mapping[str, Any]

    @property
    def file_name(self) -> str:
        """The file name; newer checkpoints sort later."""
        return f"epoch-{self.epochs:05d}-step-{self.step:08d}.safetensors"

    def part(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors of one part (`module`, `best`, `optimizer`, `average`), by their names within it."""
        prefix = f"{name}/"
        own = {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}
        return _with_present_names(own) if _OLD_HEAD in own else own

    def to_bytes(self) -> bytes:
        """A safetensors file with the plain values as JSON in its metadata, and a checksum of both."""
        text = json.dumps({"format": FORMAT, "epochs": self.epochs, "step": self.step, "about": dict(self.about)})
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(self.tensors.items())}
        return save(tensors, metadata={_ABOUT: text, _CHECKSUM: checksum(text, tensors)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read such a file, which can't contain code.

        Raises:
            DamagedCheckpointError: it is truncated, modified, or in another format.
            ConfigError: it is in the format of a newer version.
        """
        try:
            tensors = load(data)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
            text = header[_ABOUT]
            values = json.loads(text)
            if str(values["format"]).isdecimal() and int(values["format"]) > int(FORMAT):
                raise ConfigError(
                    f"it was written by a newer breedclf (format {values['format']}; this one reads up to {FORMAT}): "
                    "upgrade breedclf, or restart without --resume"
                )
            if values["format"] not in (_FIRST_FORMAT, FORMAT):
                raise DamagedCheckpointError(f"its format is {values['format']}, not {FORMAT}")
            expected = checksum(text, tensors) if values["format"] == FORMAT else _first_checksum(text, tensors)
            if header[_CHECKSUM] != expected:
                raise DamagedCheckpointError("its checksum is wrong")
            return cls(values["epochs"], values["step"], tensors, values["about"])
        except ConfigError:
            raise
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DamagedCheckpointError(f"it can't be read ({error or type(error).__name__})") from error


@dataclass(frozen=True)
class CheckpointFolder:
    """The folder of a run's last two checkpoints."""

    path: Path

    def files(self) -> list[Path]:
        """The checkpoint files, newest first."""
        try:
            names = [entry.name for entry in os.scandir(self.path) if _NAME.fullmatch(entry.name)]
        except OSError:
            return []
        return [self.path / name for name in sorted(names, reverse=True)]

    def load(self) -> Checkpoint | None:
        """The newest undamaged checkpoint; a warning is logged for each damaged one.

        Raises:
            ConfigError: the newest one is in the format of a newer version.
        """
        files: list[Path | None] = [*self.files(), None]
        for file, after in itertools.pairwise(files):
            assert file is not None
            try:
                found = Checkpoint.from_bytes(file.read_bytes())
                if found.file_name != file.name:
                    raise DamagedCheckpointError(f"it is a copy of {found.file_name}")
                return found
            except ConfigError as error:
                raise ConfigError(f"checkpoint {file} can't be read: {error}") from None
            except (DamagedCheckpointError, OSError) as error:
                then = f"using the previous one, {after.name}" if after else "there is no previous one"
                log.warning("checkpoint %s is damaged: %s; %s", file, error, then)
        return None

    def save(self, checkpoint: Checkpoint) -> bool:
        """Write a checkpoint and remove all but the last two; returns whether it was written.

        If the disk refuses, a warning is logged and the earlier ones stay. A process killed while writing leaves the
        earlier files intact.
        """
        file = self.path / checkpoint.file_name
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomic(file, checkpoint.to_bytes(), sync=True)
        except OSError as error:
            reason = error.strerror or str(error)
            log.warning(
                "the checkpoint can't be written to %s (%s); training continues, the last one stays", file, reason
            )
            return False
        for older in self.files()[KEPT:]:
            with suppress(OSError):
                older.unlink()
        return True

    def clear(self) -> None:
        """Remove the files of an earlier run, or of a process that was killed."""
        for file in [*self.files(), *self._parts()]:
            with suppress(OSError):
                file.unlink()

    def _parts(self) -> Iterator[Path]:
        return self.path.glob("*epoch-*.part")


def _with_present_names(old: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of a module with trained stages: its head was `fc`, and its stages had no common prefix."""
    return {
        f"head.{name.removeprefix('fc.')}" if name.startswith("fc.") else f"body.{name}": tensor
        for name, tensor in old.items()
    }


def _first_checksum(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
