"""Exported models, by the real exporters and runtimes: same answers or no file, and what a user hears otherwise."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from breedclf import Classifier, export
from breedclf.cli import main
from breedclf.data.images import open_image
from breedclf.errors import ArtifactError, ConfigError, DataError, ExportError, MissingExtraError
from breedclf.exporting.comparison import TOLERANCE, Comparison, compare
from breedclf.exporting.export import write_compared
from breedclf.exporting.formats import FORMATS, Outputs
from breedclf.exporting.network import ExportedNetwork, traced
from breedclf.exporting.samples import MOST_IMAGES, drawn_samples, samples_from
from breedclf.models.backbones.backbone import find_backbone
from breedclf.models.folding import folded
from breedclf.testing.images import write_hostile_images
from breedclf.training.fit import FitResult
from tests.integration.conftest import write_patterns
from tests.serving.conftest import write_tiny_model

Trained = tuple[FitResult, Path]
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}


@pytest.fixture
def model(trained: Trained) -> Path:
    return trained[0].artifact


@pytest.mark.parametrize("form", SUFFIXES)
def test_an_export_answers_as_the_model_folder(trained: Trained, tmp_path: Path, form: str) -> None:
    result, data = trained
    output = tmp_path / "new" / f"dogs{SUFFIXES[form]}"
    done = export(result.artifact, output, format=form, data=data / "test")
    assert (done.images, done.drawn, done.skipped) == (8, False, ())
    assert done.comparison.same_top1 == done.comparison.answers == 9, "all together, and the first alone"
    assert done.comparison.largest_difference <= TOLERANCE
    assert done.size_bytes == output.stat().st_size > 40e6
    assert list(output.parent.iterdir()) == [output], "nothing else is left beside it"

    paths = sorted((data / "test").rglob("*.png"))
    expected = Classifier(result.artifact, device="cpu", precision="fp32").probabilities(paths)
    preprocessing = done_preprocessing(output, form)
    assert preprocessing["normalisation"] == "inside"
    pictures = samples_from(paths, Classifier(result.artifact).card.preprocessing).images
    assert pictures.shape == (8, 3, preprocessing["crop_px"], preprocessing["crop_px"])
    got = FORMATS[form].run(output, pictures).probabilities
    assert np.allclose(got[:8], expected.numpy(), atol=TOLERANCE)
    assert np.allclose(got[8], got[0], atol=TOLERANCE)


def done_preprocessing(path: Path, form: str) -> dict[str, object]:
    """The preprocessing in the file's metadata, after checking the rest of the metadata."""
    if form == "torch":
        files = {"breedclf.json": ""}
        torch.export.load(path, extra_files=files)
        card = json.loads(files["breedclf.json"])
        assert card["class_names"] == ["Lying", "Standing"]
        return {**card["preprocessing"], "normalisation": "inside"}
    written = onnx.load(path)
    metadata = {entry.key: entry.value for entry in written.metadata_props}
    assert json.loads(metadata["class_names"]) == ["Lying", "Standing"]
    assert json.loads(metadata["labels"]) == ["001.Lying", "002.Standing"]
    (given,), (answer, *_) = written.graph.input, written.graph.output
    assert (given.name, answer.name) == ("pictures", "probabilities")
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    batch, *rest = given.type.tensor_type.shape.dim
    assert batch.dim_param, "any number of images"
    assert [one.dim_value for one in rest] == [3, 224, 224]
    return dict(json.loads(metadata["preprocessing"]))


def test_the_command_compares_on_synthetic_images_and_prints_the_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = write_tiny_model(tmp_path / "model")
    assert main(["export", str(copy), "--format", "torch", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["output"] == str(tmp_path / "model.pt2")
    assert (document["pictures"], document["drawn"], document["same_top1"]) == (16, True, document["answers"])
    assert 0 <= document["largest_difference"] <= document["tolerance"] == TOLERANCE
    assert main(["export", str(copy), "--format", "torch"]) == 2
    assert "exists already; choose another --output, or use --overwrite" in capsys.readouterr().err
    assert main(["export", str(copy), "--format", "torch", "--overwrite"]) == 0
    assert "predictions have the same best class" in capsys.readouterr().out


def test_a_file_that_answers_otherwise_is_refused_and_an_old_one_stays(model: Path, tmp_path: Path) -> None:
    classifier = Classifier(model, device="cpu", precision="fp32")
    preprocessing = classifier.card.preprocessing
    other = folded(find_backbone("resnet18").new_network(seed=5, classes=2))
    foreign = traced(ExportedNetwork(other, preprocessing), preprocessing.crop_px, "resnet18")
    real = FORMATS["torch"]
    wrong = replace(real, write=lambda _program, card, path: real.write(foreign, card, path))
    output = tmp_path / "old"
    output.write_text("an earlier export")
    with pytest.raises(ExportError, match=r"of 17 predictions .* differ by 0\.\d+ at most .*nothing was written"):
        write_compared(classifier, wrong, drawn_samples(preprocessing), output)
    assert output.read_text() == "an earlier export"
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize("form", SUFFIXES)
def test_a_file_that_does_not_run_is_refused(model: Path, tmp_path: Path, form: str) -> None:
    classifier = Classifier(model, device="cpu", precision="fp32")
    broken = replace(FORMATS[form], write=lambda _program, _card, path: path.write_bytes(b"no model"))
    samples = drawn_samples(classifier.card.preprocessing)
    with pytest.raises(ExportError, match="exported model"):
        write_compared(classifier, broken, samples, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_the_outcome_of_a_comparison() -> None:
    expected = np.array([[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]], np.float32)

    def compared(got: np.ndarray, right: np.ndarray = expected) -> Comparison:
        return compare(Outputs(right), Outputs(got))

    assert compared(expected).agrees
    near = compared(expected + np.float32([[0, 0], [0, 0], [-4e-6, 4e-6]]))
    assert near.agrees, "which of two equal classes comes first says nothing"
    far = compared(expected + np.float32([[2e-4, -2e-4], [0, 0], [0, 0]]))
    assert (far.agrees, far.same_top1) == (False, 3)
    swapped = compared(expected[:, ::-1])
    assert (swapped.agrees, swapped.same_top1) == (False, 1)
    flipped = compared(np.float32([[0.49999, 0.50001]]), np.float32([[0.50004, 0.49996]]))
    assert (flipped.agrees, flipped.same_top1) == (False, 0)
    assert not compared(np.full_like(expected, np.nan)).agrees
    assert not compared(expected[:2]).agrees


def test_images_are_sampled_evenly_and_bad_ones_are_reported(model: Path, tmp_path: Path) -> None:
    data = write_patterns(tmp_path / "many", counts={"test": 40})
    preprocessing = Classifier(model).card.preprocessing
    taken = samples_from([data], preprocessing)
    assert len(taken.images) == MOST_IMAGES
    paths = sorted(data.rglob("*.png"))
    for place, path in ((0, paths[0]), (-1, paths[31 * len(paths) // 32])):
        assert np.array_equal(taken.images[place], preprocessing.view(open_image(path), 0).numpy())
    hostile = write_hostile_images(tmp_path / "hostile")
    mixed = samples_from([tmp_path / "hostile"], preprocessing)
    assert len(mixed.skipped) == len(hostile.broken)
    assert len(mixed.images) == len(hostile.odd)


def _damaged(model: Path, folder: Path) -> Path:
    copy = Path(shutil.copytree(model, folder / "damaged"))
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\xff\xff\xff\xff")
    return copy


def test_invalid_exports_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"format='onyx' is not an export format: did you mean 'onnx'\?"):
        export(model, tmp_path / "x", format="onyx")
    with pytest.raises(ArtifactError, match="is not a breedclf model"):
        export(tmp_path, tmp_path / "x", format="torch")
    with pytest.raises(ArtifactError, match="is damaged or was replaced"):
        export(_damaged(model, tmp_path), tmp_path / "x", format="torch")
    with pytest.raises(ConfigError, match=r"is a folder; give a file in it, such as model\.pt2"):
        export(model, tmp_path, format="torch")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="can't be written"):
        export(model, tmp_path / "file" / "x.pt2", format="torch")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no images to compare"):
        export(model, tmp_path / "x", format="torch", data=tmp_path / "empty")
    with pytest.raises(DataError, match="doesn't exist; give an image"):
        export(model, tmp_path / "x", format="torch", data=[tmp_path / "no.jpg"])
    with pytest.raises(DataError, match="none of the 1 images to compare can be read"):
        export(model, tmp_path / "x", format="torch", data=tmp_path / "file")
    assert not (tmp_path / "x").exists()


def test_a_missing_extra_names_what_to_install(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    wanted = r'export to onnx needs onnxruntime, which is not installed: pip install "breedclf\[onnx\]"'
    with pytest.raises(MissingExtraError, match=wanted):
        export(model, tmp_path / "x.onnx")


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_behind(model: Path, tmp_path: Path) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    output = tmp_path / "x.pt2"
    done = subprocess.run(
        [sys.executable, "-m", "breedclf", "export", str(model), "--format", "torch", "--output", str(output)],
        capture_output=True,
        text=True,
        preexec_fn=small_files,
    )
    assert done.returncode == 4, done.stderr
    assert "can't be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
