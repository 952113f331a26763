"""Labeled images written as an image folder: bytes as they are, pixels as PNG, complete or not at all."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from breedclf.data.adapters.arrays import from_arrays
from breedclf.data.image_folder import scan
from breedclf.data.images import open_image
from breedclf.data.write_folder import write_image_folder
from breedclf.errors import ConfigError, DataError, DiskError

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 20, 30, 3), dtype=np.uint8)


def encoded(format_name: str, **options: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(PIXELS[0]).save(file, format_name, **options)
    return file.getvalue()


def test_files_are_copied_byte_by_byte_with_the_suffix_of_their_format(tmp_path: Path) -> None:
    files = {name: encoded(name) for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")}
    (tmp_path / "without-suffix").write_bytes(files["JPEG"])
    source = from_arrays([*files.values(), tmp_path / "without-suffix"], ["a"] * 7)
    folder = write_image_folder(source, tmp_path / "photos")
    written = sorted((folder / "a").iterdir())
    assert [path.name for path in written] == ["0.jpg", "1.png", "2.webp", "3.gif", "4.bmp", "5.tif", "6.jpg"]
    assert [path.read_bytes() for path in written] == [*files.values(), files["JPEG"]]


def test_pixels_are_kept_by_arrays_and_pil_images(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.open(BytesIO(encoded("PNG", exif=exif)))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    colored = Image.open(BytesIO(encoded("PNG", icc_profile=profile)))
    gray = PIXELS[1, :, :, 0]
    source = from_arrays([PIXELS[0], gray, turned, colored], list("abcd"))
    found = {path.parent.name: open_image(path) for path in write_image_folder(source, tmp_path / "x").glob("*/*")}
    assert np.array_equal(np.asarray(found["a"]), PIXELS[0])
    assert np.array_equal(np.asarray(found["b"])[:, :, 0], gray)
    assert np.array_equal(np.asarray(found["c"]), np.rot90(PIXELS[0], -1))
    assert found["d"].info["icc_profile"] == profile


def test_splits_get_folders_that_are_read_as_such(tmp_path: Path) -> None:
    train, valid = from_arrays(PIXELS, ["ant", "bee"] * 2), from_arrays(PIXELS[:2], ["bee", "ant"])
    found = scan(write_image_folder({"train": train, "validation": valid}, tmp_path / "photos"))
    assert found.labels == ("ant", "bee")
    assert {name: split.targets for name, split in found.splits.items()} == {"train": (0, 0, 1, 1), "valid": (0, 1)}


@pytest.mark.parametrize("name", ["a/b", "..", "x" * 300, ".hidden", "@eadir"])
def test_a_class_name_that_is_no_folder_is_refused_and_nothing_is_left(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="rename"):
        write_image_folder(from_arrays(PIXELS, [name, "ok"] * 2), tmp_path / "photos")
    assert not [*tmp_path.iterdir()]


def test_a_split_with_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="images has a split 'extra': the splits are train, valid and test"):
        write_image_folder({"extra": from_arrays(PIXELS, ["a", "b"] * 2)}, tmp_path / "photos")


def test_a_folder_with_files_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "own").touch()
    with pytest.raises(ConfigError, match="exists already and isn't an empty folder: choose another one"):
        write_image_folder(from_arrays(PIXELS, ["a", "b"] * 2), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"text", "image 1 can't be read: it is none of JPEG"),
        (Path("/nowhere/x.jpg"), "image 1 can't be read: /nowhere/x.jpg can't be read: No such file or directory"),
        (None, "image 1 can't be read: an image must be a path"),
    ],
    ids=["text", "missing", "none"],
)
def test_an_unreadable_image_stops_the_writing_or_is_left_out(
    bad: Any, message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = from_arrays([PIXELS[0], bad, PIXELS[2]], ["a", "a", "b"])
    with pytest.raises(DataError) as caught:
        write_image_folder(source, tmp_path / "photos")
    assert message in str(caught.value)
    assert not [*tmp_path.iterdir()]
    folder = write_image_folder(source, tmp_path / "photos", on_bad_image="skip")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png")) == ["a/0.png", "b/2.png"]
    assert f"1 images were left out: {message}" in caplog.text


def test_a_disk_that_refuses_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write: Callable[[Path, bytes], int] = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "2.png":
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DiskError, match="photos can't be written: the disk is full"):
        write_image_folder(from_arrays(PIXELS, ["a", "b"] * 2), tmp_path / "photos")
    assert not [*tmp_path.iterdir()]
