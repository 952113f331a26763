"""The page's sections about the model in use: its version, its endpoint, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from markupsafe import Markup

from breedclf.journey.figures import ExplainedImage, parsed
from breedclf.journey.page.material import Material
from breedclf.journey.page.parts import answer, listed
from breedclf.journey.record import StepRecord
from breedclf.model_store.records import ModelRecord, ModelVersion
from breedclf.reporting.blocks import Column, Tone, facts, table
from breedclf.reporting.formats import percent
from breedclf.reporting.notebook import share_bars

Block = Markup | str

_MOST_VERSIONS = 8


def version_blocks(step: StepRecord, material: Material) -> Iterator[Block]:
    """Where the version comes from, and the other versions of the model."""
    record, number = material.model, step.outcome.values.get("version")
    if record is None:
        yield "The store can't be read, so the version's lineage isn't shown."
        return
    version = next((each for each in record.versions if each.version == number), None)
    if version is None:
        yield f"Version {number} was removed from the store since."
    else:
        yield facts(_lineage(version))
    if len(record.versions) > 1:
        yield _versions(record)


def _lineage(version: ModelVersion) -> Iterator[tuple[str, object]]:
    lineage, training = version.lineage, version.lineage.config
    yield "Digest of its files", version.digest[:16]
    yield "Network", f"{version.architecture}, {version.classes} classes, {version.megabytes:,.1f} MB"
    if lineage.data:
        yield "Trained on", f"{lineage.data} (fingerprint {lineage.data_fingerprint[:12] or 'unknown'})"
    if "weights" in training:
        yield "Pretrained weights", PurePath(str(training["weights"])).name
    yield "Code", f"breedclf {lineage.breedclf_version}, torch {lineage.torch_version}"
    if lineage.tuning_job:
        yield "Tuning job", f"{lineage.tuning_job}, trial {lineage.trial}"
    if lineage.started_from:
        yield "Continues", lineage.started_from


def _versions(record: ModelRecord) -> Markup:
    newest = sorted(record.versions, key=lambda each: -each.version)[:_MOST_VERSIONS]
    rows = [
        (
            each.version,
            ", ".join(record.aliases_of(each.version)) or None,
            each.metrics.get("valid_accuracy"),
            each.added.strftime("%Y-%m-%d %H:%M"),
            each.notes,
        )
        for each in newest
    ]
    heads: list[Column | str] = [
        Column("Version"), "Alias", Column("Validation accuracy", True, percent), "Added (UTC)", "Notes"
    ]  # fmt: skip
    more = f", the newest {_MOST_VERSIONS} of {len(record.versions)}" if len(record.versions) > _MOST_VERSIONS else ""
    return table(f"Versions of {record.name}{more}", heads, rows)


def endpoint_blocks(step: StepRecord, material: Material) -> Iterator[Block]:
    """The endpoint, and the version that it serves."""
    values = step.outcome.values
    live = None if material.model is None else material.model.aliases.get("live")
    pairs: list[tuple[str, object]] = [("Endpoint", values.get("endpoint"))]
    if values.get("url"):
        pairs.append(("URL", values["url"]))
    if live is not None:
        pairs.append(("Live version", f"{material.name} {live}"))
    yield facts(pairs)
    yield "Its predictions were compared with those of the model before it was put in service."


def answer_blocks(step: StepRecord, material: Material) -> Iterator[Block]:
    """Each image with its most probable classes, whether it is known, and where it speaks for its class."""
    images = step.outcome.values.get("images") or ()
    if not images:
        return
    if found := parsed(ExplainedImage, [each.get("explanation") for each in images]):
        kind = "they are exact, the network's own arithmetic" if found[0].exact else "they are approximations"
        yield f"The maps show which places of the image speak for the answer, yellow most ({found[0].method}; {kind})."
    yield listed([_answer(each, material) for each in images])


def _answer(values: Mapping[str, Any], material: Material) -> Markup:
    path, label, predicted = str(values.get("path", "")), values.get("label"), values.get("predicted")
    guesses = values.get("predictions") or ()
    names = {each.get("label"): str(each.get("class_name")) for each in guesses}
    true, first = names.get(label, str(label)), names.get(predicted, "none of these")
    state: tuple[Tone, str] = ("ok", "correct") if predicted == label else ("bad", "wrong")
    if not values.get("known", True):
        state = ("info", "none of these")
    photo = material.image(path, f"a test image of {true}", [f"a test image of {true}"])
    lines = [f"File: {path}"]
    explained = None
    for found in parsed(ExplainedImage, [values.get("explanation")]):
        explained = material.image(found.file, f"the same image: why {found.class_name}", [f"why {found.class_name}"])
    if not values.get("known", True):
        lines.insert(0, "It is farther from the training images than nearly all validation images.")
    bars = share_bars((str(each.get("class_name")), float(each.get("probability") or 0.0)) for each in guesses)
    return answer(photo, explained, first, state, bars, lines)
