"""`export`: a model folder as one file, put in place only once it answers as the folder does."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from breedclf.errors import ConfigError, ExportError
from breedclf.exporting.comparison import Comparison, compare
from breedclf.exporting.formats import INPUT, OUTPUT, Format, format_named
from breedclf.exporting.network import ExportedNetwork, traced
from breedclf.exporting.samples import Samples, drawn_samples, samples_from
from breedclf.files.disk import writing
from breedclf.files.paths import user_path
from breedclf.inference.classifier import Classifier
from breedclf.inference.model_directory import ModelCard, read_artifact
from breedclf.models.network import folded, network_from
from breedclf.runtime.extras import require_extra
from breedclf.training.output_folder import writable


@dataclass(frozen=True)
class Export:
    """An exported model: where it is, and how it was compared with the model folder.

    `drawn` tells that no images were given, so that drawn ones were compared; `skipped` holds the reasons of given
    ones that can't be read.
    """

    model: Path
    format: str
    output: Path
    size_bytes: int
    pictures: int
    drawn: bool
    comparison: Comparison
    skipped: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The fields of `breedclf export --json`."""
        return {
            "model": str(self.model),
            "format": self.format,
            "output": str(self.output),
            "size_bytes": self.size_bytes,
            "input": INPUT,
            "result": OUTPUT,
            "pictures": self.pictures,
            "drawn": self.drawn,
            **self.comparison.to_dict(),
            "skipped": list(self.skipped),
            "seconds": round(self.seconds, 3),
        }


def export(
    model: str | Path,
    output: str | Path | None = None,
    *,
    format: str = "onnx",  # noqa: A002 - the flag's name
    data: str | Path | Sequence[str | Path] = (),
    overwrite: bool = False,
) -> Export:
    """Write a model folder as one file for another runtime, after comparing their answers on images.

    The file takes `images`, uint8 [N, 3, crop_px, crop_px] for any N, and gives `probabilities`, float32 [N, C] in
    the order of the model's labels; the normalization is inside, and the numbers are fp32. Class names and
    preprocessing are in the file's metadata.

    Args:
        model: the folder that a training wrote (`OUTPUT/model`).
        output: the file; `model.onnx` or `model.pt2` beside the model folder if not given.
        format: `onnx`, or `torch` for a file of torch.export.
        data: folders and files to take up to 32 images to compare on from; drawn ones if not given.
        overwrite: replace a file that is there already.

    Raises:
        ArtifactError: the model folder is missing, damaged, foreign or newer than this breedclf.
        ConfigError: the format is unknown, or the output is there already or can't be written.
        DataError: there are no readable images to compare on.
        DiskError: the disk refuses the file; one that was there before stays.
        ExportError: the exported model answers otherwise than the model folder; nothing is written.
        MissingExtraError: ONNX needs packages that `pip install "breedclf[onnx]"` installs.

    Example:
        >>> export("runs/dogs/model", "dogs.onnx", data="dogImages/test").comparison  # doctest: +SKIP
    """
    started = time.perf_counter()
    chosen = format_named(format)
    require_extra(*chosen.packages, purpose=f"export to {chosen.name}", install=f'"breedclf[{chosen.name}]"')
    classifier = Classifier(model, device="cpu", precision="fp32")
    target = _target(classifier.artifact, output, chosen, overwrite)
    preprocessing = classifier.card.preprocessing
    sources = [user_path(source, "data") for source in ([data] if isinstance(data, (str, Path)) else data)]
    samples = samples_from(sources, preprocessing) if sources else drawn_samples(preprocessing)
    comparison = write_compared(classifier, chosen, samples, target)
    return Export(
        model=classifier.artifact,
        format=chosen.name,
        output=target,
        size_bytes=target.stat().st_size,
        pictures=len(samples.pictures),
        drawn=samples.drawn,
        comparison=comparison,
        skipped=samples.skipped,
        seconds=time.perf_counter() - started,
    )


def write_compared(classifier: Classifier, chosen: Format, samples: Samples, target: Path) -> Comparison:
    """Write beside the target, read that file back, compare, and only then put it in place.

    Raises:
        ExportError: the answers differ, or the file doesn't run.
        DiskError: the disk refuses the file.
    """
    expected = classifier.probabilities_of_inputs(torch.from_numpy(samples.pictures))
    card = classifier.card
    _, state = read_artifact(classifier.artifact)
    network = folded(network_from(card.architecture, state))
    program = traced(ExportedNetwork(network, card.preprocessing), card.preprocessing.crop_px)
    with (
        writing(target, "make room, or choose another --output"),
        tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as folder,
    ):
        fresh = Path(folder) / f"model{chosen.suffix}"
        _write(chosen, program, card, fresh)
        comparison = compare(torch.cat([expected, expected[:1]]).numpy(), _answers(chosen, fresh, samples))
        if not comparison.agrees:
            raise ExportError(
                f"the exported model answers otherwise than {classifier.artifact}: {comparison}; nothing is written"
            )
        fresh.replace(target)
    return comparison


def _write(chosen: Format, program: torch.export.ExportedProgram, card: ModelCard, path: Path) -> None:
    try:
        chosen.write(program, card, path)
    except RuntimeError as error:  # what torch's exporters raise
        raise ExportError(f"the model can't be written as {chosen.name}: {error}; nothing is written") from error


def _answers(chosen: Format, path: Path, samples: Samples) -> np.ndarray[Any, np.dtype[np.float32]]:
    try:
        return chosen.run(path, samples.pictures)
    except ExportError:
        raise
    except Exception as error:  # over a file that isn't whole, a runtime may raise anything
        raise ExportError(f"the exported model can't be run: {error}; nothing is written") from error


def _target(model: Path, output: str | Path | None, chosen: Format, overwrite: bool) -> Path:
    """The file to write, tried.

    Raises:
        ConfigError: it is there already, is a folder, or can't be written.
    """
    folder = model.resolve()
    target = user_path(output, "output") if output is not None else folder.with_name(folder.name + chosen.suffix)
    if target.is_dir():
        raise ConfigError(f"output={str(target)!r} is a folder; name a file in it, such as model{chosen.suffix}")
    if target.exists() and not overwrite:
        raise ConfigError(f"output={str(target)!r} is there already; choose another --output, or say --overwrite")
    writable(target.parent)
    return target
