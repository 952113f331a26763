"""Prediction, evaluation, serving, export, OpenVINO and the device see the same input of an image."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from breedclf.api.endpoint import file_of
from breedclf.data.any_image import AnyImage, given_image
from breedclf.data.decoding import decode_image
from breedclf.data.device_decoding import DeviceChunks, DevicePreprocessing
from breedclf.data.image_source import EncodedImages, ViewDataset
from breedclf.data.preprocessing import Preprocessing
from breedclf.data.split import ImageFiles
from breedclf.exporting.samples import samples_from
from breedclf.files.model_folder import CARD_FILE
from breedclf.inference.batches import input_of
from breedclf.inference.classifier import Classifier
from breedclf.serving.core import Limits
from breedclf.serving.engines.engine import TorchEngine
from tests.color_profiles import SRGB, power, rgb_profile
from tests.serving.conftest import write_tiny_model

LINEAR = rgb_profile(SRGB, power(1.0))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Odd files of which each comes out otherwise by a careless reader."""
    folder = tmp_path_factory.mktemp("odd")
    blocks = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(blocks).resize((80, 60), Image.Resampling.BICUBIC)
    image.save(folder / "linear.jpg", icc_profile=LINEAR, quality=95)
    image.save(folder / "linear.png", icc_profile=LINEAR)
    image.save(folder / "linear.tif", icc_profile=LINEAR)
    image.convert("CMYK").save(folder / "inks.jpg")
    file = BytesIO()
    image.save(file, "JPEG", quality=95)
    (folder / "no end.jpg").write_bytes(file.getvalue()[:-2])
    clear = image.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(image.size))
    clear.save(folder / "clear.png", icc_profile=LINEAR)
    return folder


def with_color(model: Path, folder: Path, color: str | None) -> Classifier:
    """The model with this color setting; None gives a model from before the setting existed."""
    card = json.loads((model / CARD_FILE).read_text())
    card["preprocessing"].pop("color")
    if color is not None:
        card["preprocessing"]["color"] = color
    (folder / CARD_FILE).write_text(json.dumps(card))
    if not (folder / "model.safetensors").exists():
        (folder / "model.safetensors").symlink_to(model / "model.safetensors")
    return Classifier(folder, device="cpu", precision="fp32")


def crop_of(image: AnyImage, classifier: Classifier) -> torch.Tensor:
    """What a classifier's network sees of an image, before it is normalized: uint8 [3, crop, crop]."""
    crop = input_of(given_image(image), classifier.preprocessing).crop
    assert crop is not None
    return crop


@pytest.mark.parametrize("color", ["srgb", "as_stored", None])
def test_everybody_sees_the_same_input(model: Path, images: Path, tmp_path: Path, color: str | None) -> None:
    pytest.importorskip("openvino")
    from breedclf.serving.engines.openvino_model import _input

    classifier = with_color(model, tmp_path, color)
    preprocessing = classifier.card.preprocessing
    assert preprocessing.color == (color or "as_stored")
    engine = TorchEngine(classifier, Limits())
    for path in sorted(images.iterdir()):
        expected = preprocessing.view(decode_image(path, color=color or "as_stored"), 0)  # type: ignore[arg-type]
        data = path.read_bytes()
        seen: dict[str, Any] = {
            "by path": crop_of(str(path), classifier),
            "by bytes": crop_of(data, classifier),
            "served": engine.decode(data),
            "sent by a client": engine.decode(file_of(path)),
            "compared on export": torch.from_numpy(samples_from([path], preprocessing).images[0]),
            "served by OpenVINO": torch.from_numpy(_input(classifier.card, path, path.name)),
            "evaluated": ViewDataset(EncodedImages(ImageFiles([path])), None, preprocessing, 0, 0)[0].image,
        }
        if "no end" not in path.name:
            with Image.open(path) as opened:
                seen["opened by Pillow"] = crop_of(opened, classifier)
        for who, found in seen.items():
            assert torch.equal(found, expected), (path.name, who)
        own = DevicePreprocessing(**preprocessing.model_dump())
        (chunk,) = DeviceChunks(ImageFiles([path]), [0], own, torch.device("cpu"), 1, 1)
        assert (chunk.images[0].int() - expected.int()).abs().max() <= 1


def test_a_model_of_before_answers_as_before(model: Path, images: Path, tmp_path: Path) -> None:
    before, now = (with_color(model, tmp_path, color) for color in (None, "srgb"))
    linear = images / "linear.jpg"
    stored = Preprocessing(resize_px=36, crop_px=32).view(
        torch.from_numpy(np.array(Image.open(linear))).permute(2, 0, 1), 0
    )
    assert torch.equal(crop_of(linear, before), stored)
    assert (crop_of(linear, now).int() - stored.int()).abs().float().mean() > 20


def test_half_an_image_is_refused_on_the_device_as_anywhere(images: Path, tmp_path: Path) -> None:
    data = (images / "linear.jpg").read_bytes()
    scan = data.index(b"\xff\xda")
    half = tmp_path / "half.jpg"
    half.write_bytes(data[: (scan + len(data)) // 2] + b"\xff\xd9")
    own = DevicePreprocessing(resize_px=36, crop_px=32)
    (chunk,) = DeviceChunks(ImageFiles([half, images / "linear.jpg"]), [0, 1], own, torch.device("cpu"), 2, 1)
    assert chunk.positions.tolist() == [1]
    assert chunk.bad[0].startswith(f"{half} can't be decoded as JPEG: it is truncated")
