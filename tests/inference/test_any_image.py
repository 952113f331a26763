"""What is accepted as an image, and what is refused with a list of what is accepted."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from breedclf import Classifier, ImageError
from breedclf.api.endpoint import file_of
from breedclf.data.any_image import ACCEPTED
from breedclf.data.images import open_image
from tests.serving.conftest import draw, encode

PNG = encode(draw(), "PNG")
PIXELS = np.asarray(draw())


class OwnPath:
    """What is a path only by `__fspath__`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


class Stream:
    """A response of a web service: it can only be read."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def read(self, size: int = -1) -> Any:
        part, self.data = self.data[:size], self.data[size:]
        return part


def at_its_end(data: bytes) -> BytesIO:
    file = BytesIO()
    file.write(data)
    return file


def test_every_accepted_kind_gives_the_same_prediction(classifier: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    expected = classifier.predict(path)
    with os.scandir(os.fsencode(tmp_path)) as entries:
        entry = next(entries)
    with path.open("rb") as opened, Image.open(path) as lazily:
        given = {
            "str": str(path),
            "PathLike": OwnPath(path),
            "PurePath": PurePosixPath(path),
            "bytes path": entry,
            "bytes": PNG,
            "bytearray": bytearray(PNG),
            "memoryview": memoryview(PNG),
            "open file": opened,
            "BytesIO": BytesIO(PNG),
            "BytesIO at its end": at_its_end(PNG),
            "read only": Stream(PNG),
            "PIL": lazily,
            "array": PIXELS,
            "tensor": torch.from_numpy(PIXELS.copy()).permute(2, 0, 1),
        }
        for kind, image in given.items():
            assert classifier.predict(image).ranked == expected.ranked, kind
        probabilities = pytest.approx([each.probability for each in expected.ranked])
        for one in classifier.predict([BytesIO(PNG), PIXELS]):  # of a batch, the last bits may differ
            assert [each.class_name for each in one.ranked] == [each.class_name for each in expected.ranked]
            assert [each.probability for each in one.ranked] == probabilities


def test_an_endpoint_accepts_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    with path.open("rb") as opened:
        for image in (OwnPath(path), bytearray(PNG), memoryview(PNG), opened, at_its_end(PNG)):
            assert file_of(image) == PNG
    for pixels in (PIXELS, torch.from_numpy(PIXELS.copy()).permute(2, 0, 1)):
        assert np.array_equal(np.asarray(open_image(file_of(pixels))), PIXELS)


def test_a_gray_tensor_is_a_gray_image(classifier: Classifier) -> None:
    gray = PIXELS[..., 0].copy()
    assert classifier.predict(torch.from_numpy(gray)[None]).ranked == classifier.predict(gray).ranked


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        pytest.param(None, f"NoneType is neither an image nor several: give {ACCEPTED}; or a list", id="None"),
        pytest.param(3, "int is neither an image nor several", id="int"),
        pytest.param({"a": "a.jpg"}, "dict is neither an image nor several", id="dict"),
        pytest.param({"a.jpg"}, "set is neither an image nor several, which has no order", id="set"),
        pytest.param([["a.jpg"]], f"images[0]: an image must be {ACCEPTED}, not list", id="nested list"),
        pytest.param([PNG, None], "images[1]: an image must be", id="None in a list"),
        pytest.param(PIXELS[None], "pass several images as a list", id="batch array"),
        pytest.param(PIXELS.astype(float), "not float64 [60, 80, 3]", id="float array"),
        pytest.param(torch.zeros(3, 8, 8), "not float32 [3, 8, 8]; give several images as a list", id="float tensor"),
        pytest.param(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "not uint8 [2, 3, 8, 8]", id="batch tensor"),
        pytest.param([PNG, b""], "images[1]: the given bytes can't be decoded: it is empty (0 bytes)", id="no bytes"),
        pytest.param([PNG, ""], "images[1]: image is empty: give a path", id="empty path"),
        pytest.param(BytesIO(), "can't be decoded: it is empty (0 bytes)", id="empty file"),
        pytest.param(Stream("text"), "its read() returns str, not bytes", id="text stream"),
    ],
)
def test_anything_else_is_refused_with_what_is_accepted(classifier: Classifier, wrong: object, said: str) -> None:
    with pytest.raises(ImageError) as caught:
        classifier.predict(wrong)  # type: ignore[call-overload]
    assert said in str(caught.value)


def test_folders_and_unusable_files_are_refused_by_name(classifier: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    with pytest.raises(ImageError, match="can't be read: it is a folder, not a file"):
        classifier.predict(tmp_path)
    with path.open() as text, pytest.raises(ImageError, match=r'a.png can\'t be read: .* open it with mode "rb"'):
        classifier.predict(text)  # type: ignore[arg-type]
    with path.open("rb") as closed:
        pass
    with pytest.raises(ImageError, match="a.png can't be read: I/O operation on closed file"):
        classifier.predict(closed)


def test_no_images_give_no_predictions(classifier: Classifier) -> None:
    assert classifier.predict([]) == []
    assert classifier.probabilities([]).shape == (0, 7)
    assert classifier.features([]).shape == (0, 512)
    assert classifier.inputs([]).shape == (0, 3, 32, 32)
