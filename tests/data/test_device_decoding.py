"""Decoding on a device: the same chunks as on the CPU, but for what scaling in floats and cutting at pixels change.

The device is the CPU here, through the very calls that CUDA gets; nvJPEG's own rounding is not seen by these tests.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from breedclf.config import TrainingConfig
from breedclf.data import device_decoding
from breedclf.data.decoding import PlainJpeg, plain_jpeg
from breedclf.data.device_decoding import DeviceChunks, DevicePreprocessing, decode_jpegs
from breedclf.data.image_source import Chunk, EncodedImages, ViewDataset, collate
from breedclf.data.preprocessing import Preprocessing
from breedclf.data.split import ImageFiles
from breedclf.errors import ConfigError
from breedclf.features.extraction import FeatureExtractor
from breedclf.runtime.device import Compute, compute_of

CPU = torch.device("cpu")


@pytest.fixture
def files(tmp_path: Path) -> ImageFiles:
    """JPEGs of several shapes, one turned by EXIF; a PNG, a CMYK one, one cut short and one that is none."""
    colours = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    image = Image.fromarray(colours).resize((600, 450), Image.Resampling.BICUBIC)
    for number, size in enumerate([(500, 375), (300, 700), (256, 256), (90, 120)]):
        image.resize(size).save(tmp_path / f"{number}.jpg", quality=92)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.resize((400, 300)).save(tmp_path / "4.jpg", exif=exif)
    image.save(tmp_path / "5.png")
    image.convert("CMYK").save(tmp_path / "6.jpg")
    whole = (tmp_path / "0.jpg").read_bytes()
    (tmp_path / "7.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "8.jpg").write_bytes(b"no image")
    return ImageFiles(sorted(tmp_path.iterdir()))


def on_device(files: ImageFiles, chunk_size: int = 4, view: int = 0, seed: int = 0) -> list[Chunk]:
    own = DevicePreprocessing(**Preprocessing().model_dump())
    return list(DeviceChunks(files, range(len(files)), own, CPU, chunk_size, 2, view, seed))


def by_loop(files: ImageFiles, view: int = 0, seed: int = 0) -> Chunk:
    dataset = ViewDataset(EncodedImages(files), None, Preprocessing(), view, seed)
    return collate([dataset[position] for position in range(len(files))])


def test_the_central_view_is_that_of_the_cpu_to_one_grey_level(files: ImageFiles) -> None:
    chunks, plain = on_device(files), by_loop(files)
    assert [len(chunk.positions) + len(chunk.bad) for chunk in chunks] == [4, 4, 1]
    assert torch.equal(torch.cat([chunk.positions for chunk in chunks]), plain.positions)
    assert {at: why for chunk in chunks for at, why in chunk.bad.items()} == plain.bad
    assert set(plain.bad) == {7, 8}
    found = torch.cat([chunk.images for chunk in chunks if len(chunk.positions)])
    assert (found.int() - plain.images.int()).abs().max() <= 1


def test_a_random_view_shows_the_same_part_and_repeats(files: ImageFiles) -> None:
    for view in (1, 2, 3):
        (found,), plain = on_device(files, 16, view, seed=5), by_loop(files, view, seed=5)
        difference = (found.images.int() - plain.images.int()).abs().float()
        assert difference.mean() < 2, "cut elsewhere, or mirrored otherwise"
        assert torch.equal(found.images, on_device(files, 16, view, seed=5)[0].images)
    assert not torch.equal(found.images, on_device(files, 16, view, seed=6)[0].images)


def test_one_that_the_device_refuses_goes_by_the_cpu(files: ImageFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = on_device(files, 16)[0]
    refused = files.paths[4].read_bytes()
    known = plain_jpeg(refused)
    assert known is not None
    own, calls = device_decoding._decode, []

    def decode(given: list[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
        calls.append(len(given))
        if any(bytes(each.numpy()) == known.data for each in given):
            raise RuntimeError("nvJPEG: unsupported")
        return own(given, device)

    monkeypatch.setattr(device_decoding, "_decode", decode)
    (found,) = on_device(files, 16)
    assert calls == [5, 1, 1, 1, 1, 1]
    assert torch.equal(found.images, plain.images)
    assert found.bad == plain.bad


def test_whose_fault_it_is_is_found_out() -> None:
    broken = PlainJpeg(b"\xff\xd8\xff\xd9", (8, 8), 1)
    assert decode_jpegs([broken, broken], CPU) == [None, None]
    assert decode_jpegs([], CPU) == []


def test_features_from_there_are_close_and_never_taken_for_the_others(files: ImageFiles) -> None:
    def mean_colour() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())

    here, there = (
        FeatureExtractor(mean_colour, Preprocessing(), Compute(CPU, "fp32"), "w", 4, device_decoding=decoding)
        for decoding in (False, True)
    )
    assert here.spec(0).key != there.spec(0).key
    plain, found = (extractor.extract(EncodedImages(files)) for extractor in (here, there))
    assert torch.equal(found.kept, plain.kept)
    assert found.bad == plain.bad
    torch.testing.assert_close(found.values, plain.values, atol=0.01, rtol=0.01)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_it_needs_cuda() -> None:
    with pytest.raises(ConfigError, match="device='cuda': this machine has no such device"):
        compute_of(TrainingConfig(data="x", device_decoding=True))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"device": "cpu"}, "device_decoding needs device=cuda, not cpu"),
        ({"dct_scaling": True}, "turn dct_scaling off"),
        ({"engine": "openvino"}, "engine=openvino computes on the CPU, not on device=cuda"),
    ],
)
def test_what_doesn_t_go_with_it_is_said(settings: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        TrainingConfig(data="x", device_decoding=True, **settings)
