"""`breedclf predict --explain DIR`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from breedclf import Classifier
from breedclf.cli import main
from breedclf.explanations.files import png_names
from breedclf.testing.images import PATTERNS, draw_image
from tests.explanations.conftest import ClassifierOf


def test_each_image_has_a_png_and_an_entry(
    classifier_of: ClassifierOf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classifier = Classifier(classifier_of("timm:test_resnet", crop_px=64).artifact)
    images = [tmp_path / "a" / "dog.jpg", tmp_path / "b" / "dog.jpg", tmp_path / "broken.jpg"]
    for number, path in enumerate(images):
        path.parent.mkdir(exist_ok=True)
        draw_image(list(PATTERNS)[number], np.random.default_rng(0)).save(path)
    images[2].write_bytes(b"no image")
    folder = tmp_path / "new" / "maps"
    command = ["predict", str(classifier.artifact), *map(str, images), "--explain", str(folder), "--json"]
    assert main(command) == 3, "one image can't be read"
    first, second, broken = json.loads(capsys.readouterr().out)
    assert first["explanation"] == {
        "file": str(folder / "dog.png"),
        "class_name": first["predictions"][0]["class_name"],
        "method": "class activation map",
        "exact": True,
        "border_share": classifier.explain(images[0]).border_share,
    }
    assert first["predictions"] == classifier.predict(images[0]).to_dict()["predictions"]
    assert second["explanation"]["file"] == str(folder / "dog-2.png")
    assert "explanation" not in broken
    assert sorted(path.name for path in folder.iterdir()) == ["dog-2.png", "dog.png"]
    with Image.open(folder / "dog.png") as drawn:
        assert drawn.size == (64, 64)

    assert main(command) == 2
    assert "dog.png and 1 more exist already; choose another folder, or delete it" in capsys.readouterr().err


def test_a_file_in_place_of_the_folder_and_an_endpoint_are_refused(
    classifier_of: ClassifierOf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    model = str(classifier_of("timm:test_resnet", crop_px=64).artifact)
    assert main(["predict", model, "x.jpg", "--explain", str(file)]) == 2
    assert "is a file: give a folder for the PNG files" in capsys.readouterr().err
    assert main(["predict", "--endpoint", "dogs", "x.jpg", "--explain", str(tmp_path)]) == 2
    assert "--explain has no effect on an endpoint, whose answers have no maps" in capsys.readouterr().err


def test_file_names_are_safe_and_unique() -> None:
    assert png_names(["a/x.jpg", "b/X.png", "x-2.gif"]) == ["x.png", "X-2.png", "x-2-2.png"]
    assert png_names(["../..", "s3:?*.jpg", "été 1.jpg", "/"]) == ["image.png", "s3___.png", "été_1.png", "image-2.png"]
    assert len(png_names(["x" * 300])[0]) <= 120
