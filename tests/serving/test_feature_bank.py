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
from breedclf.backends.sagemaker.endpoints.expected_answers import compare_with, expected_answers
from breedclf.errors import ArtifactError, ParityError
from breedclf.files.model_folder import BANK_FILE
from breedclf.inference.prediction import Prediction, RankedClass
from breedclf.serving import inference
from breedclf.serving.parity import KnownLimits, compare
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


CAT = Prediction((RankedClass("Cat", "1.Cat", 1.0),), known=False, distance=0.3)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param({"distance": None}, "returns the distance none, the classifier 0.3000", id="no distance"),
        pytest.param({"distance": 0.4}, "returns the distance 0.4000, the classifier 0.3000", id="another distance"),
        pytest.param({"known": True}, "returns known=True, the classifier known=False", id="known"),
    ],
)
def test_another_distance_is_a_difference(answer: dict[str, object], message: str) -> None:
    limits = KnownLimits(None, 0.2)
    compare("x", json.dumps(CAT.to_dict()), [CAT], 1e-3, limits)
    with pytest.raises(ParityError, match=message):
        compare("x", json.dumps(CAT.to_dict() | answer), [CAT], 1e-3, limits)
    compare("x", json.dumps(CAT.to_dict() | {"known": True}), [CAT], 1e-3, KnownLimits(None, 0.3004))


def test_expected_answers_of_an_endpoint_have_distances(model: Path, model_with_bank: Path) -> None:
    def ask(folder: Path) -> Callable[[bytes, str], bytes]:
        engine = inference.model_fn(str(folder))
        return lambda body, kind: inference.output_fn(
            inference.predict_fn(inference.input_fn(body, kind), engine), "*/*"
        )[0]

    document = expected_answers(model_with_bank)
    compare_with(document, ask(model_with_bank))
    with pytest.raises(ParityError, match="returns the distance none"):
        compare_with(document, ask(model))
    values = json.loads(document)
    del values["limits"]  # as a version without feature banks wrote it
    compare_with(json.dumps(values).encode(), ask(model))


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
