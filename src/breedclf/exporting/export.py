"""`export`: writes a model as a single file, after verifying that its predictions are the same."""

from __future__ import annotations

import os
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
from breedclf.exporting.formats import INPUT, OUTPUT, Format, Outputs, format_named, metadata
from breedclf.exporting.network import ExportedNetwork, NetworkWithBank, reason_of, traced
from breedclf.exporting.samples import Samples, drawn_samples, samples_from
from breedclf.files.disk import writing
from breedclf.files.paths import StrPath, user_path
from breedclf.inference.classifier import Classifier
from breedclf.inference.model_directory import ModelCard, read_artifact, read_bank
from breedclf.models.backbones.backbone import find_backbone
from breedclf.models.folding import folded
from breedclf.runtime.extras import require_extra
from breedclf.training.results.output_folder import writable


@dataclass(frozen=True)
class Export:
    """An exported model: its file, and the comparison with the original model.

    `images` counts the compared images, `drawn` means that they are synthetic since none were given, and `skipped` has
    the error messages of unreadable ones. `feature_bank` is as in the file's metadata: `inside`, `not included`, or
    `none` if the model has none.
    """

    model: Path
    format: str
    output: Path
    size_bytes: int
    images: int
    drawn: bool
    comparison: Comparison
    skipped: tuple[str, ...]
    seconds: float
    feature_bank: str = "none"

    def to_dict(self) -> dict[str, Any]:
        """The fields of `breedclf export --json`."""
        return {
            "model": str(self.model),
            "format": self.format,
            "output": str(self.output),
            "size_bytes": self.size_bytes,
            "input": INPUT,
            "result": OUTPUT,
            "feature_bank": self.feature_bank,
            "pictures": self.images,
            "drawn": self.drawn,
            **self.comparison.to_dict(),
            "skipped": list(self.skipped),
            "seconds": round(self.seconds, 3),
        }


def export(
    model: StrPath,
    output: StrPath | None = None,
    *,
    format: str = "onnx",  # noqa: A002 - the flag's name
    data: StrPath | Sequence[StrPath] = (),
    overwrite: bool = False,
    feature_bank: bool | None = None,
) -> Export:
    """Write a model as a single file for another runtime, after comparing their predictions.

    The file's input is `pictures`, uint8 [N, 3, crop_px, crop_px] for any N; its output is `probabilities`, float32
    [N, C] in the order of the model's labels. Normalization is included; weights are fp32. Class names and
    preprocessing are in the file's metadata. With the model's feature bank there are two more outputs: `distance`,
    float32 [N], as `Prediction.distance`, and `known`, bool [N].

    Args:
        model: the model directory of a training run (`OUTPUT/model`).
        output: the file to write; by default `model.onnx` or `model.pt2` next to the model directory.
        format: `onnx`, or `torch` for torch.export.
        data: folders and files from which up to 32 images are compared; synthetic images by default.
        overwrite: replace an existing file.
        feature_bank: whether the file holds the model's feature bank, if it has one; by default an ONNX file does, and
            a torch file doesn't: its result is a tensor without the bank, and a tuple of three with it.

    Raises:
        ArtifactError: the model directory is missing, damaged, foreign or newer than this breedclf.
        ConfigError: the format is unknown, the output exists already or can't be written, or `feature_bank` is True and
            the model has none.
        DataError: there are no readable images to compare.
        DiskError: the file can't be written; an existing file is kept.
        ExportError: the predictions differ, or the network can't be exported to this format; nothing is written.
        MissingExtraError: packages for ONNX are missing; install them with `pip install "breedclf[onnx]"`.

    Example:
        >>> export("runs/dogs/model", "dogs.onnx", data="dogImages/test").comparison  # doctest: +SKIP
    """
    started = time.perf_counter()
    chosen = format_named(format)
    require_extra(*chosen.packages, purpose=f"export to {chosen.name}", install=f'"breedclf[{chosen.name}]"')
    classifier = Classifier(model, device="cpu", precision="fp32")
    target = _target(classifier.artifact, output, chosen, overwrite)
    preprocessing = classifier.card.preprocessing
    sources = [user_path(source, "data") for source in ([data] if isinstance(data, (str, os.PathLike)) else data)]
    samples = samples_from(sources, preprocessing) if sources else drawn_samples(preprocessing)
    with_bank = _with_bank(classifier, chosen, feature_bank)
    comparison = write_compared(classifier, chosen, samples, target, with_bank=with_bank)
    return Export(
        model=classifier.artifact,
        format=chosen.name,
        output=target,
        size_bytes=target.stat().st_size,
        images=len(samples.images),
        drawn=samples.drawn,
        comparison=comparison,
        skipped=samples.skipped,
        seconds=time.perf_counter() - started,
        feature_bank=metadata(classifier.card, with_bank=with_bank)["feature_bank"],
    )


def _with_bank(classifier: Classifier, chosen: Format, requested: bool | None) -> bool:
    """Whether the file holds the model's feature bank.

    Raises:
        ConfigError: it is requested, and the model has none.
    """
    has_bank = classifier.card.feature_bank is not None
    if requested and not has_bank:
        raise ConfigError(
            f"feature_bank=True: {classifier.artifact} has no feature bank; train it again, or leave feature_bank out"
        )
    return has_bank and (chosen.named_outputs if requested is None else requested)


def write_compared(
    classifier: Classifier, chosen: Format, samples: Samples, target: Path, *, with_bank: bool = False
) -> Comparison:
    """Write a temporary file next to the target, run it, compare, and rename it to the target.

    Raises:
        ExportError: the predictions differ, or the file can't be run.
        DiskError: the file can't be written.
    """
    expected, card = _expected(classifier, samples, with_bank=with_bank), classifier.card
    program = traced(_network_of(classifier, with_bank=with_bank), card.preprocessing.crop_px, card.architecture)
    with (
        writing(target, "free disk space, or choose another --output"),
        tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as folder,
    ):
        fresh = Path(folder) / f"model{chosen.suffix}"
        _write(chosen, program, card, fresh)
        comparison = compare(expected, _predictions(chosen, fresh, samples))
        if not comparison.agrees:
            raise ExportError(
                f"the exported model's predictions differ from {classifier.artifact}: {comparison}; nothing was written"
            )
        fresh.replace(target)
    return comparison


def _expected(classifier: Classifier, samples: Samples, *, with_bank: bool) -> Outputs:
    """What a file should return for all images, and for the first one again."""
    predictions = classifier.predictions_of_inputs(torch.from_numpy(samples.images))
    predictions.append(predictions[0])
    by_label = [{ranked.label: ranked.probability for ranked in each.ranked} for each in predictions]
    rows = np.array([[each[label] for label in classifier.card.labels] for each in by_label], np.float32)
    return Outputs(rows, np.array([each.distance for each in predictions], np.float32) if with_bank else None)


def _network_of(classifier: Classifier, *, with_bank: bool) -> ExportedNetwork:
    card, state = read_artifact(classifier.artifact)
    backbone = find_backbone(card.architecture)
    network = folded(backbone.network_from(state))
    bank = read_bank(classifier.artifact, card, backbone.features) if with_bank else None
    if bank is None:
        return ExportedNetwork(network, card.preprocessing)
    return NetworkWithBank(network, backbone.head, bank, card)


def _write(chosen: Format, program: torch.export.ExportedProgram, card: ModelCard, path: Path) -> None:
    try:
        chosen.write(program, card, path)
    except OSError:
        raise
    except Exception as error:  # torch's exporters raise anything for operations that they don't know
        raise ExportError(
            f"{card.architecture} can't be exported as {chosen.name}: {reason_of(error)}; nothing was written"
        ) from error


def _predictions(chosen: Format, path: Path, samples: Samples) -> Outputs:
    try:
        return chosen.run(path, samples.images)
    except ExportError:
        raise
    except Exception as error:  # runtimes may raise anything for an incomplete file
        raise ExportError(f"the exported model can't be run: {error}; nothing was written") from error


def _target(model: Path, output: StrPath | None, chosen: Format, overwrite: bool) -> Path:
    """The output file, checked to be writable.

    Raises:
        ConfigError: it exists already, is a folder, or can't be written.
    """
    folder = model.resolve()
    target = user_path(output, "output") if output is not None else folder.with_name(folder.name + chosen.suffix)
    if target.is_dir():
        raise ConfigError(f"output={str(target)!r} is a folder; give a file in it, such as model{chosen.suffix}")
    if target.exists() and not overwrite:
        raise ConfigError(f"output={str(target)!r} exists already; choose another --output, or use --overwrite")
    writable(target.parent)
    return target
