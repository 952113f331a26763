"""Exports of models with a feature bank: distances are those of the classifier, for any number of images."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from breedclf import Classifier, Export, export
from breedclf.cli import main
from breedclf.errors import ConfigError
from breedclf.exporting.comparison import Outputs, compare
from breedclf.exporting.formats import FORMATS, METADATA_FILE, metadata
from breedclf.files.model_folder import BANK_FILE
from tests.serving.conftest import draw, write_model_with_bank, write_tiny_model

Exported = Callable[[str, bool | None], Export]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_with_bank(tmp_path_factory.mktemp("bank") / "model")


@pytest.fixture(scope="module")
def pictures(model: Path) -> np.ndarray:
    preprocessing = Classifier(model).preprocessing
    images = [preprocessing.view(draw(seed), 0) for seed in (0, 1, 40, 41, 42)]
    return torch.stack(images).numpy()


@pytest.fixture(scope="module")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Exports the model once for each format and each value of feature_bank."""

    @cache
    def made(form: str, feature_bank: bool | None) -> Export:
        if form == "onnx":
            pytest.importorskip("onnxruntime")
        return export(model, tmp_path_factory.mktemp("export") / "file", format=form, feature_bank=feature_bank)

    return made


@pytest.mark.parametrize(("form", "with_bank", "without_bank"), [("onnx", None, False), ("torch", True, None)])
def test_distances_are_those_of_the_classifier(
    model: Path,
    pictures: np.ndarray,
    exported: Exported,
    form: str,
    with_bank: bool | None,
    without_bank: bool | None,
) -> None:
    done = exported(form, with_bank)
    assert done.feature_bank == "inside"
    assert done.comparison.largest_distance_difference is not None
    assert done.comparison.largest_distance_difference <= done.comparison.tolerance
    got = FORMATS[form].run(done.output, pictures)
    expected = Classifier(model, precision="fp32").predictions_of_inputs(torch.from_numpy(pictures))
    assert got.distance is not None
    assert got.known is not None
    assert got.distance.dtype == np.float32
    assert got.distance[:-1] == pytest.approx([each.distance for each in expected], abs=1e-4)
    assert got.known.tolist() == [True, True, False, False, False, True]
    without = exported(form, without_bank)
    rows_bytes = (model / BANK_FILE).stat().st_size
    assert done.size_bytes - without.size_bytes < 1.1 * rows_bytes + 20_000, "rows are in half precision"
    assert (without.feature_bank, without.comparison.largest_distance_difference) == ("not included", None)
    plain = FORMATS[form].run(without.output, pictures)
    assert plain.distance is None
    np.testing.assert_allclose(plain.probabilities, got.probabilities, atol=1e-5)


def test_names_and_metadata_of_an_onnx_file(exported: Exported) -> None:
    written = onnx.load(exported("onnx", None).output)
    assert [each.name for each in written.graph.input] == ["pictures"]
    assert [each.name for each in written.graph.output] == ["probabilities", "distance", "known"]
    about = {entry.key: entry.value for entry in written.metadata_props}
    assert about["feature_bank"] == "inside"
    assert [json.loads(about[name]) for name in ("threshold", "neighbor", "temperature")] == [0.01, 2, None]


def test_a_torch_file_returns_a_tensor_unless_the_bank_is_requested(exported: Exported) -> None:
    files = {METADATA_FILE: ""}
    network = torch.export.load(exported("torch", None).output, extra_files=files).module()
    assert isinstance(network(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)), torch.Tensor)
    assert json.loads(files[METADATA_FILE])["feature_bank"] == "not included"


def test_a_bank_that_isn_t_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = write_tiny_model(tmp_path / "model")
    with pytest.raises(ConfigError, match="has no feature bank; train it again, or leave feature_bank out"):
        export(old, format="torch", feature_bank=True)
    assert main(["export", str(old), "--format", "torch", "--json"]) == 0
    assert (
        json.loads(capsys.readouterr().out)["feature_bank"] == metadata(Classifier(old).card)["feature_bank"] == "none"
    )


def test_another_distance_is_refused() -> None:
    rows, distance = np.float32([[0.7, 0.3]]), np.float32([0.2])
    assert compare(Outputs(rows, distance), Outputs(rows, distance)).agrees
    far = compare(Outputs(rows, distance), Outputs(rows, distance + np.float32(0.001)))
    assert not far.agrees
    assert ", distances by 0.001 (allowed" in str(far)
    assert not compare(Outputs(rows, distance), Outputs(rows)).agrees
    assert not compare(Outputs(rows, distance), Outputs(rows, np.float32([np.nan]))).agrees
