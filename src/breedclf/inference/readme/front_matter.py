"""The metadata of a model card: YAML that Hugging Face reads for its license, its filters and its table of results."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from breedclf.inference.readme.measured import Measured
from breedclf.models.backbones.licenses import NOT_STATED, license_binds, license_text

if TYPE_CHECKING:
    from breedclf.inference.model_directory import ModelCard

Value = str | float | int | Sequence["Value"] | Mapping[str, "Value"]

HUB = "https://huggingface.co/"
_SPLITS = {"valid": "validation"}
"""Hugging Face's names of splits, where they differ."""
_NAMED_BY_HUB = frozenset({"cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-sa-4.0"})
"""The licenses that bind and that Hugging Face has a name for; it has one for all that don't bind."""
_NOT_IN_YAML = re.compile("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def front_matter(card: ModelCard, name: str, measured: Sequence[Measured]) -> str:
    """The metadata between its two lines of dashes.

    Source: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
    """
    values: dict[str, Value] = {
        **_license(card),
        "library_name": "breedclf",
        "pipeline_tag": "image-classification",
        "tags": ["breedclf", "image-classification", card.architecture.replace(":", "-")],
        **_base_model(card),
    }
    if measured:
        values["metrics"] = ["accuracy"]
        values["model-index"] = [{"name": name, "results": [_result(each) for each in measured]}]
    return f"---\n{_yaml(values)}\n---\n"


def license_of(card: ModelCard) -> str | None:
    """The license of the pretrained weights as it was recorded; None if it isn't known."""
    found = None if card.backbone is None else card.backbone.license
    return None if found in (None, "", NOT_STATED) else found


def _license(card: ModelCard) -> dict[str, Value]:
    """The license of the weights, from which the model is derived; nothing if it isn't known."""
    found = license_of(card)
    if found is None or card.backbone is None:
        return {}
    key = found.partition(" ")[0].lower()
    if not license_binds(key) or key in _NAMED_BY_HUB:
        return {"license": key}
    link = license_text(found, card.backbone.source or "")
    return {"license": "other", "license_name": key, **({"license_link": link} if link else {})}


def _base_model(card: ModelCard) -> dict[str, Value]:
    """The repository of the pretrained weights, if they are from Hugging Face."""
    source = (card.backbone and card.backbone.source) or ""
    return {"base_model": source.removeprefix(HUB)} if source.startswith(HUB) else {}


def _result(measured: Measured) -> dict[str, Value]:
    metric: dict[str, Value] = {"type": "accuracy", "value": _rounded(measured.accuracy), "name": "Accuracy"}
    if (interval := measured.interval) is not None and measured.count is not None:
        low, high = map(_rounded, interval)
        metric["name"] = f"Accuracy (95% interval {low} to {high}, {measured.count} images)"
        metric["args"] = {"confidence_level": 0.95, "interval": [low, high], "images": measured.count}
    return {
        "task": {"type": "image-classification", "name": "Image classification"},
        "dataset": {
            "type": "imagefolder",
            "name": measured.data,
            "split": _SPLITS.get(measured.split, measured.split),
        },
        "metrics": [metric],
    }


def _rounded(share: float) -> float:
    return round(share, 4)


def _yaml(value: Value, indent: str = "") -> str:
    """Values as YAML, strings as in JSON; containers of training jobs have no library for YAML."""
    if isinstance(value, str):
        quoted = json.dumps(value, ensure_ascii=False)
        return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
    if isinstance(value, Mapping):
        return "\n".join(f"{indent}{key}:{_inner(each, indent)}" for key, each in value.items())
    if isinstance(value, Sequence):
        lines = (_yaml(each, indent + "  ") for each in value)
        return "\n".join(f"{indent}- {line.removeprefix(indent + '  ')}" for line in lines)
    return json.dumps(value)


def _inner(value: Value, indent: str) -> str:
    nested = isinstance(value, (Mapping, Sequence)) and not isinstance(value, str)
    return f"\n{_yaml(value, indent + '  ')}" if nested else f" {_yaml(value)}"
