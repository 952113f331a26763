"""Training, tuning, profiling and evaluation on images that the program has, instead of a folder."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from breedclf import (
    Categorical,
    DataError,
    FitResult,
    ImageError,
    LabeledImages,
    LocalBackend,
    ProfilingSession,
    Trainer,
    TrainingConfig,
    TuningJob,
    evaluate,
    from_arrays,
    write_image_folder,
)
from breedclf.data.images import ImageLike
from breedclf.errors import ConfigError
from breedclf.profiling.verify import timed_fit
from breedclf.tuning.study import StudyFolder
from tests.integration.conftest import QUICK

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 40, 40, 3), dtype=np.uint8)
LABELS = ["lying", "standing"] * 6
THROUGH = "images through the backbone"


class Source:
    """Images in memory whose `read` can be replaced; counts how often each image is read."""

    labels = ("lying", "standing")

    def __init__(self, read: Callable[[int], Any] = PIXELS.__getitem__) -> None:
        self.targets = [0, 1] * 6
        self.reads = [0] * 12
        self._read = read

    def __len__(self) -> int:
        return 12

    def read(self, index: int) -> ImageLike:
        self.reads[index] += 1
        image: ImageLike = self._read(index)
        return image


def settings(folder: Path, **changes: Any) -> TrainingConfig:
    return TrainingConfig(**{**QUICK, "output": folder / "out", "cache_dir": folder / "cache", "epochs": 1, **changes})


def head_of(result: FitResult) -> torch.Tensor:
    return load_file(result.artifact / "model.safetensors")["fc.weight"]


@pytest.fixture(scope="module")
def images() -> LabeledImages:
    return from_arrays(PIXELS, LABELS)


@pytest.fixture(scope="module")
def fitted(images: LabeledImages, tmp_path_factory: pytest.TempPathFactory) -> tuple[FitResult, Path]:
    """A training run on the images, and the folder of its output and cache."""
    folder = tmp_path_factory.mktemp("fitted")
    return Trainer(settings(folder), images=images).fit(), folder


def test_the_written_folder_trains_to_the_same_weights(images: LabeledImages, tmp_path: Path) -> None:
    by_class = from_arrays(PIXELS[np.argsort(LABELS, stable=True)], sorted(LABELS))
    given = Trainer(settings(tmp_path), images=by_class).fit()
    folder = write_image_folder(images, tmp_path / "photos")
    assert torch.equal(head_of(Trainer(settings(tmp_path, data=folder)).fit()), head_of(given))


def test_records_say_what_the_images_were(fitted: tuple[FitResult, Path]) -> None:
    result, _ = fitted
    card = json.loads((result.artifact / "breedclf.json").read_text())
    about = json.loads((result.output / "images.json").read_text())
    assert about == card["training"]["images"]
    assert about == {"kind": "ImagesInMemory", "train": 8, "valid": 2, "fingerprint": card["data_fingerprint"]}
    assert "data" not in card["training"]
    assert TrainingConfig.from_file(result.output / "config.json").data is None


def test_later_runs_reuse_the_features(
    fitted: tuple[FitResult, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = fitted[1] / "cache"
    with caplog.at_level(logging.INFO, "breedclf"):
        Trainer(settings(tmp_path, cache_dir=cache), images=from_arrays(PIXELS.copy(), LABELS)).fit()
    assert THROUGH not in caplog.text
    assert len(re.findall(r"the digests of (8|2) images took \d+\.\d s", caplog.text)) == 2
    with caplog.at_level(logging.INFO, "breedclf"):
        Trainer(settings(tmp_path, cache_dir=cache), images=from_arrays(PIXELS ^ 1, LABELS)).fit()
    assert THROUGH in caplog.text


SPAWNED = """
import logging, multiprocessing, sys
import numpy as np
from breedclf import Trainer, TrainingConfig, from_arrays

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    multiprocessing.set_start_method("spawn")
    folder, known = sys.argv[1:]
    images = from_arrays(np.load(folder + "/pixels.npy"), ["lying", "standing"] * 6)
    quick = {"architecture": "shufflenet_v2_x0_5", "weights": "none", "chunk_size": 8, "epochs": 1, "device": "cpu"}
    config = TrainingConfig(output=folder + "/again", cache_dir=known, **quick)
    Trainer(config, images=images).fit()
    logging.info("NEXT")
    Trainer(config.replace(output=folder + "/workers", cache_dir=folder + "/new", workers=1), images=images).fit()
"""


@pytest.mark.slow
def test_another_process_reuses_the_features_and_spawned_workers_read_the_images(
    fitted: tuple[FitResult, Path], tmp_path: Path
) -> None:
    result, folder = fitted
    np.save(tmp_path / "pixels.npy", PIXELS)
    (tmp_path / "script.py").write_text(SPAWNED)
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path), str(folder / "cache")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=200, env=os.environ)
    assert done.returncode == 0, done.stderr
    again, with_workers = done.stderr.split("NEXT")
    assert THROUGH not in again
    assert THROUGH in with_workers
    for name in ("again", "workers"):
        weights = load_file(tmp_path / name / "model" / "model.safetensors")["fc.weight"]
        assert torch.equal(weights, head_of(result))


class OwnError(Exception):
    pass


def test_an_image_that_can_not_be_read_stops_the_run_or_is_skipped(tmp_path: Path) -> None:
    def read(index: int) -> Any:
        if index == 3:
            raise OwnError("no row")
        return PIXELS[index] if index else None

    source = {"train": Source(read), "valid": Source()}
    with pytest.raises(ImageError, match="image 0 must be a path, bytes, a PIL image or a uint8 array, not NoneType"):
        Trainer(settings(tmp_path), images=source).fit()
    result = Trainer(settings(tmp_path, on_bad_image="skip"), images=source).fit()
    assert result.skipped[1:] == ["image 3 can't be read from Source: no row"]


def test_a_run_resumes_with_the_same_images_only(
    images: LabeledImages, fitted: tuple[FitResult, Path], tmp_path: Path
) -> None:
    config = settings(tmp_path, cache_dir=fitted[1] / "cache")
    Trainer(config, images=images).fit()
    longer = config.replace(epochs=2, resume=True)
    result = Trainer(longer, images=images).fit()
    assert [record.epoch for record in result.history] == [1, 2]
    with pytest.raises(DataError, match="the images have changed since the checkpoint was made"):
        Trainer(longer, images=from_arrays(PIXELS[::-1], LABELS)).fit()


def test_images_are_refused_where_another_process_would_need_them(images: LabeledImages, tmp_path: Path) -> None:
    config, remedy = settings(tmp_path), "write_image_folder(images, FOLDER), and use TrainingConfig(data=FOLDER)"
    backend = LocalBackend(tmp_path / "home")
    refused: list[Callable[[], object]] = [
        lambda: Trainer(config, backend, images=images),
        lambda: Trainer(config, images=images).submit(),
        lambda: Trainer(config, images=images).plan(),
        lambda: TuningJob(config, {"batch_size": Categorical(4, 8)}, backend=backend, images=images),
        lambda: ProfilingSession(config, backend=backend, images=images),
    ]
    for call in refused:
        with pytest.raises(ConfigError) as caught:
            call()
        assert remedy in str(caught.value)
    assert not (tmp_path / "home").exists()


def test_there_must_be_one_origin_of_images(images: LabeledImages, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there are no images: set data in the config, or give images="):
        Trainer(settings(tmp_path))
    with pytest.raises(ConfigError, match="data='photos' and images= are both given: leave out data to use the images"):
        Trainer(settings(tmp_path, data="photos"), images=images)
    with pytest.raises(ConfigError, match="labels='labels.csv' is a table for the images of a folder"):
        Trainer(settings(tmp_path, labels="labels.csv"), images=images)


def test_a_search_reads_the_images_once_and_is_continued_with_them(
    fitted: tuple[FitResult, Path], tmp_path: Path
) -> None:
    source = Source()
    config = settings(tmp_path, cache_dir=fitted[1] / "cache")
    space = {"batch_size": Categorical(4, 8)}
    tuning = TuningJob(config, space, strategy="grid", images=source, home=tmp_path, name="given").run()
    assert [trial.status for trial in tuning.trials] == ["Completed", "Completed"]
    assert max(source.reads) == 1  # for the fingerprint; features come from the cache
    assert "2 training jobs on images of the program" in tuning.report(tmp_path / "report.html").read_text()
    assert TuningJob.attach("given", home=tmp_path).best.artifact.is_dir()
    study = StudyFolder(tmp_path / "tuning" / "given")
    study.save(study.load().model_copy(update={"status": "InProgress"}))
    with pytest.raises(ConfigError, match="there are no images: set data in the config, or give images="):
        TuningJob.attach("given", home=tmp_path).wait()


def test_a_model_is_evaluated_on_its_share_on_all_images_or_on_a_split(
    images: LabeledImages, fitted: tuple[FitResult, Path], tmp_path: Path
) -> None:
    model = fitted[0].artifact
    share = evaluate(model, images, output=tmp_path / "share")
    assert (share.split, share.count) == ("test", 2)
    everything = evaluate(model, images, split="all", output=tmp_path / "all")
    assert (everything.count, everything.labels) == (12, ("lying", "standing"))
    named = from_arrays(PIXELS, LABELS, names=["standing", "lying"])
    split = evaluate(model, {"test": named}, output=tmp_path / "split")
    assert split.accuracy == everything.accuracy
    assert re.fullmatch(r"image \d+", split.worst[0].path)
    assert "ImagesInMemory" in (tmp_path / "all" / "report.html").read_text()
    with pytest.raises(DataError, match="the test images have classes that the model doesn't have: 'sitting'"):
        evaluate(model, {"test": from_arrays(PIXELS, ["sitting"] * 12)}, output=tmp_path / "strange")
    with pytest.raises(DataError, match="there are no images for the split 'valid'; splits with images: 'test'"):
        evaluate(model, {"test": images}, split="valid", output=tmp_path / "none")


def test_the_learning_rate_is_found_and_the_run_is_profiled(
    images: LabeledImages, fitted: tuple[FitResult, Path], tmp_path: Path
) -> None:
    config = settings(tmp_path, cache_dir=fitted[1] / "cache")
    assert len(Trainer(config, images=images).find_learning_rate(steps=12).losses) >= 1
    session = ProfilingSession(config, images=images).run()
    assert {finding.rule for finding in session.findings} > {"Dataloader"}
    assert timed_fit(config, images, most_images=4)(config) > 0


def test_int8_needs_a_folder(images: LabeledImages, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    with pytest.raises(ConfigError, match="precision=int8 is calibrated in another process, which can't read images="):
        Trainer(settings(tmp_path, engine="openvino", precision="int8"), images=images).fit()
