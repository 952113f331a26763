"""The recipe on the page about exports scales and crops as breedclf does, at awkward sizes too."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from breedclf.data.decoding import decode_image
from breedclf.data.preprocessing import Preprocessing
from breedclf.exporting.formats import metadata
from breedclf.inference.model_directory import ModelCard

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/export.md"


def recipe(preprocessing: Preprocessing) -> dict[str, Callable[..., Any]]:
    """The functions that the page shows, with the geometry that an exported file of such a model tells."""
    (snippet,) = re.findall(r"^```python\n(.*?def as_input.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    functions = [node for node in ast.parse(snippet).body if isinstance(node, ast.FunctionDef)]
    card = ModelCard(
        architecture="resnet18",
        labels=("a", "b"),
        class_names=("a", "b"),
        preprocessing=preprocessing,
        weights_sha256="0" * 64,
    )
    names: dict[str, Any] = {"Image": Image, "ImageOps": ImageOps, "np": np}
    names["geometry"] = json.loads(metadata(card)["preprocessing"])
    exec(compile(ast.Module(functions, []), str(PAGE), "exec"), names)
    return names


@pytest.mark.parametrize("resize_px", [256, 232, 224])
def test_every_short_side_is_scaled_to_the_same_size(resize_px: int) -> None:
    preprocessing = Preprocessing(resize_px=resize_px)
    scaled_size = recipe(preprocessing)["scaled_size"]
    for short in range(200, 3001):
        for long in (short, short + 1, short * 4 // 3, short * 3 // 2 + 1):
            picture = torch.empty(3, short, long, dtype=torch.uint8, device="meta")
            height, width = preprocessing.scaled(picture).shape[1:]
            assert scaled_size((long, short)) == [width, height], (long, short)
            assert min(height, width) == resize_px


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(374, 500), (322, 322), (500, 375), (257, 900), (256, 256), (201, 3000), (187, 251)])
def test_the_input_is_the_same_to_one_grey_level(size: tuple[int, int], interpolation: Any) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    file = BytesIO()
    Image.fromarray(colors).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=92, exif=exif)
    preprocessing = Preprocessing(interpolation=interpolation)
    shown = recipe(preprocessing)["as_input"](file)
    own = preprocessing.view(decode_image(file.getvalue()), 0).numpy()
    assert shown.shape == (1, 3, 224, 224)
    assert np.abs(shown[0].astype(int) - own).max() <= 1
