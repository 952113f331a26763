"""Models with a feature bank: every response has the distance, every copy of the model the bank."""

from __future__ import annotations

import base64
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from breedclf import Classifier, Deployment, LocalBackend
from breedclf.backends.common.image_context import write_image_context
from breedclf.backends.common.model_archive import pack_model
from breedclf.errors import ArtifactError
from breedclf.files.model_folder import BANK_FILE
from breedclf.serving import inference
from tests.serving.conftest import draw, encode, post, running

PNG = "image/png"
KNOWN, UNKNOWN = encode(draw(3), "PNG"), encode(draw(40), "PNG")


def without_bank(folder: Path) -> None:
    (folder / BANK_FILE).unlink()


def with_a_flipped_bit(folder: Path) -> None:
    content = bytearray((folder / BANK_FILE).read_bytes())
    content[-1] ^= 1
    (folder / BANK_FILE).write_bytes(content)


def with_a_truncated_bank(folder: Path) -> None:
    (folder / BANK_FILE).write_bytes((folder / BANK_FILE).read_bytes()[:100])


DAMAGED: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing": (without_bank, r"has no feature_bank\.safetensors, which breedclf\.json names"),
    "a bit": (with_a_flipped_bit, r"feature_bank\.safetensors is damaged or was replaced"),
    "truncated": (with_a_truncated_bank, r"feature_bank\.safetensors is damaged or was replaced"),
}


def test_the_server_returns_distances(model_with_bank: Path) -> None:
    expected = Classifier(model_with_bank).predict([KNOWN, UNKNOWN])
    assert [each.known for each in expected] == [True, False]
    several = {"instances": [{"b64": base64.b64encode(image).decode()} for image in (KNOWN, UNKNOWN)]}
    with running(model_with_bank) as (url, _):
        single = [post(f"{url}/invocations?top=2", image, PNG).json() for image in (KNOWN, UNKNOWN)]
        lines = post(f"{url}/invocations", json.dumps(several).encode(), "application/json").data.splitlines()
    for answers in (single, [json.loads(line) for line in lines]):
        assert [list(each) for each in answers] == [["predictions", "known", "distance"]] * 2
        assert [each["known"] for each in answers] == [True, False]
        assert [each["distance"] for each in answers] == pytest.approx([each.distance for each in expected], abs=1e-3)


def test_a_model_without_bank_is_answered_as_before(model: Path) -> None:
    with running(model) as (url, _):
        assert list(post(f"{url}/invocations", KNOWN, PNG).json()) == ["predictions", "known"]


def test_handlers_of_the_archive(model_with_bank: Path, tmp_path: Path) -> None:
    with tarfile.open(pack_model(model_with_bank, tmp_path / "model.tar.gz")) as tar:
        tar.extractall(tmp_path / "model", filter="data")
    engine = inference.model_fn(str(tmp_path / "model"))
    body, _ = inference.output_fn(inference.predict_fn(inference.input_fn(UNKNOWN, PNG), engine), "application/json")
    answer = json.loads(body)
    assert answer["known"] is False
    assert answer["distance"] == pytest.approx(Classifier(model_with_bank).predict(UNKNOWN).distance, abs=1e-4)


def test_the_context_of_an_image_has_the_bank(model_with_bank: Path, tmp_path: Path) -> None:
    write_image_context(model_with_bank, tmp_path / "image")
    assert Classifier(tmp_path / "image" / "model").predict(UNKNOWN).distance is not None


@pytest.mark.slow
def test_an_endpoint_returns_distances(model_with_bank: Path, tmp_path: Path) -> None:
    expected = Classifier(model_with_bank).predict([KNOWN, UNKNOWN])
    with Deployment(model_with_bank, backend=LocalBackend(tmp_path / "home"), name="bank").deploy() as endpoint:
        got = endpoint.predict_many([KNOWN, UNKNOWN])
    assert [each.known for each in got] == [True, False]
    assert [each.distance for each in got] == pytest.approx([each.distance for each in expected], abs=1e-3)


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_bank_is_refused_before_the_first_request(damage: str, model_with_bank: Path, tmp_path: Path) -> None:
    change, message = DAMAGED[damage]
    folder = tmp_path / "model"
    shutil.copytree(model_with_bank, folder)
    change(folder)
    with pytest.raises(ArtifactError, match=message):
        inference.model_fn(str(folder))


def test_a_model_whose_bank_is_missing_is_not_packed(model_with_bank: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_with_bank, folder)
    without_bank(folder)
    with pytest.raises(ArtifactError, match="copy it from where the model is complete, or train again"):
        pack_model(folder, tmp_path / "model.tar.gz")
    with pytest.raises(ArtifactError, match="which breedclf.json names"):
        Deployment(folder, backend=LocalBackend(tmp_path / "home"), name="bank").deploy()
