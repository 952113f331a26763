"""Model folders that were edited or made by something else: each is refused, in words, before it answers."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from breedclf import Classifier
from breedclf.cli import main
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import ArtifactError
from breedclf.files.model_folder import CARD_FILE, WEIGHTS_FILE
from breedclf.inference.model_directory import read_artifact, read_card, write_artifact
from breedclf.models.backbones.backbone import StateDict, find_backbone

CARD = {
    "architecture": "resnet18",
    "labels": ("cat", "dog"),
    "class_names": ("Cat", "Dog"),
    "preprocessing": Preprocessing(resize_px=36, crop_px=32),
}
IMAGE = np.zeros((40, 40, 3), np.uint8)
Change = Callable[[StateDict], Any]


@pytest.fixture(scope="module")
def state() -> StateDict:
    return find_backbone("resnet18").new_network(seed=0, classes=2).state_dict()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, state: StateDict) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    write_artifact(folder, CARD, state)
    return folder


@pytest.fixture
def edited(model: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the model with another card, the weights beside it shared."""

    def edit(text: str | None = None, **changes: object) -> Path:
        folder = tmp_path / "edited"
        folder.mkdir()
        (folder / WEIGHTS_FILE).symlink_to(model / WEIGHTS_FILE)
        card = json.loads((model / CARD_FILE).read_text())
        (folder / CARD_FILE).write_text(json.dumps({**card, **changes}) if text is None else text)
        return folder

    return edit


def with_weights(model: Path, folder: Path, content: bytes | None = None, state: StateDict | None = None) -> Path:
    """A folder with the model's card and other weights, whose sha256 the card names."""
    folder.mkdir()
    if state is not None:
        save_file(state, folder / WEIGHTS_FILE)
    else:
        (folder / WEIGHTS_FILE).write_bytes(content or b"")
    card = json.loads((model / CARD_FILE).read_text())
    card["weights_sha256"] = hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()
    (folder / CARD_FILE).write_text(json.dumps(card))
    return folder


def value(name: str, number: float) -> Change:
    def change(state: StateDict) -> None:
        state[name] = state[name].clone()
        state[name].view(-1)[0] = number

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (value("fc.weight", math.nan), r"NaN or infinite values in fc\.weight \(1 of 1024 values\)"),
        (value("fc.bias", math.inf), r"NaN or infinite values in fc\.bias \(1 of 2 values\)"),
        (value("layer1.0.bn1.running_mean", -math.inf), r"in layer1\.0\.bn1\.running_mean \(1 of 64 values\)"),
        (value("bn1.running_var", -0.5), r"a negative variance in bn1\.running_var \(-0\.5\)"),
        (lambda state: state.pop("layer2.0.conv1.weight"), r"1 missing: layer2\.0\.conv1\.weight"),
        (lambda state: state.pop("fc.bias"), r"1 missing: fc\.bias"),
        (lambda state: state.update({"extra.weight": torch.zeros(2)}), r"1 unexpected: extra\.weight"),
        (lambda state: state.update({"conv1.weight": torch.zeros(64, 3, 7)}), r"conv1\.weight is \[64, 3, 7\] instead"),
        (lambda state: state.update({"fc.bias": torch.tensor(0.0)}), r"fc\.bias is \[\] instead of \[2\]"),
        (lambda state: state.update({"fc.weight": torch.zeros(2, 5)}), r"fc\.weight is \[2, 5\] instead of \[2, 512\]"),
        (
            lambda state: state.update({"fc.weight": torch.zeros(2, 512, dtype=torch.int64)}),
            r"1 of a type that holds no weights: fc\.weight is int64",
        ),
        (
            lambda state: state.update({"fc.weight": torch.zeros(2, 512).to(torch.float8_e4m3fn)}),
            r"fc\.weight is float8_e4m3fn",
        ),
        (lambda state: state.clear(), r"102 missing|\d+ missing"),
    ],
)
def test_weights_that_no_network_computes_with(
    model: Path, tmp_path: Path, state: StateDict, change: Change, message: str
) -> None:
    broken = dict(state)
    change(broken)
    folder = with_weights(model, tmp_path / "broken", state=broken)
    with pytest.raises(ArtifactError, match=message) as caught:
        Classifier(folder)
    assert str(folder / WEIGHTS_FILE) in str(caught.value)
    assert "train again, or restore the directory" in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_weights_in_another_precision_answer(model: Path, tmp_path: Path, state: StateDict, dtype: torch.dtype) -> None:
    """Halves and doubles were always taken, as were files without the counters that only training reads."""
    other = {name: each.to(dtype) for name, each in state.items() if "num_batches" not in name}
    folder = with_weights(model, tmp_path / "other", state=other)
    expected = Classifier(model, device="cpu", precision="fp32").probabilities([IMAGE])
    found = Classifier(folder, device="cpu", precision="fp32").probabilities([IMAGE])
    assert torch.allclose(found, expected, atol=0.01)


def test_an_answer_that_overflows_is_no_prediction(
    model: Path, tmp_path: Path, state: StateDict, capsys: pytest.CaptureFixture[str]
) -> None:
    huge = {name: each * 1e18 if name in ("conv1.weight", "fc.weight") else each for name, each in state.items()}
    huge["bn1.weight"] = torch.full((64,), 1e30)
    classifier = Classifier(with_weights(model, tmp_path / "huge", state=huge), device="cpu")
    for ask in (classifier.predict, lambda image: classifier.probabilities([image])):
        with pytest.raises(ArtifactError, match="are NaN or infinite: its weights are so large"):
            ask(IMAGE)
    with pytest.raises(ArtifactError, match="are NaN or infinite"):
        classifier.prediction(torch.tensor([math.nan, 0.5]))
    Image.fromarray(IMAGE).save(tmp_path / "image.png")
    split = tmp_path / "data" / "test" / "cat"
    split.mkdir(parents=True)
    Image.fromarray(IMAGE).save(split / "image.png")
    for words in (
        ["predict", str(classifier.artifact), str(tmp_path / "image.png"), "--json"],
        ["evaluate", str(classifier.artifact), str(tmp_path / "data"), f"--output={tmp_path}/evaluation", "--json"],
    ):
        assert main([*words, "--quiet"]) == 3
        told = capsys.readouterr()
        assert told.out == ""
        assert "NaN or infinite" in told.err
    assert [file.name for file in (tmp_path / "evaluation").iterdir()] == [".breedclf-output"]


HEADER = json.dumps({"fc.bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 90_000_000) + b"{",
        struct.pack("<Q", 40_000) + b"[" * 40_000,
        struct.pack("<Q", len(HEADER)) + HEADER,
        struct.pack("<Q", len(HEADER)) + HEADER + bytes(9),
        *(
            struct.pack("<Q", len(text)) + text + bytes(8)
            for text in (
                HEADER.replace(b"F32", b"Q99"),
                HEADER.replace(b"F32", b"F4").replace(b"[2]", b"[16]"),
                HEADER.replace(b"F32", b"C64").replace(b"[2]", b"[1]"),
                HEADER.replace(b"[2]", b"[-2]"),
                HEADER.replace(b"[2]", b"[4294967296, 4294967296]"),
                HEADER.replace(b"[0, 8]", b"[8, 0]"),
                HEADER.replace(b"[0, 8]", b"[0, 99999]"),
                b"[]",
                b"null",
            )
        ),
    ],
)
def test_a_file_of_weights_with_a_forged_header(model: Path, tmp_path: Path, content: bytes) -> None:
    folder = with_weights(model, tmp_path / "forged", content)
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        read_artifact(folder)


def test_a_file_far_too_large_is_refused_unread(model: Path, tmp_path: Path) -> None:
    folder = with_weights(model, tmp_path / "large", b"x")
    with (folder / WEIGHTS_FILE).open("r+b") as file:
        file.truncate(1 << 40)  # a hole: it takes no room
    with pytest.raises(ArtifactError, match="has 1,099,511,627,776 bytes, more than a resnet18 can have"):
        read_artifact(folder)
    with (folder / CARD_FILE).open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(ArtifactError, match="which is too large for a model card"):
        read_card(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_px": 0}, "crop_px=0: "),
        ({"crop_px": -5}, "crop_px=-5: "),
        ({"crop_px": 20_000}, "crop_px=20000: .*less than or equal to 2048"),
        ({"crop_px": 10**9}, "crop_px=1000000000: "),
        ({"crop_px": 1.5}, "crop_px=1.5: "),
        ({"crop_px": True}, "crop_px=True: expected a number"),
        ({"crop_px": None}, "crop_px=None: "),
        ({"resize_px": 0}, "resize_px=0: "),
        ({"resize_px": 10**9}, "resize_px=1000000000: "),
        ({"mean": [0.5, 0.5]}, "mean"),
        ({"mean": [0.5, -1e300, 0.5]}, r"mean\.1=-1e\+300: "),
        ({"std": [0.2, 0.2, 0.0]}, r"std\.2=0\.0: .*greater than or equal to 0\.001"),
        ({"std": [-0.2, 0.2, 0.2]}, r"std\.0=-0\.2: "),
        ({"std": [1e-30, 0.2, 0.2]}, r"std\.0=1e-30: "),
        ({"interpolation": "lanczos"}, "interpolation='lanczos'"),
    ],
)
def test_preprocessing_out_of_its_range(edited: Callable[..., Path], changes: dict[str, Any], message: str) -> None:
    preprocessing = CARD["preprocessing"].model_dump(mode="json")  # type: ignore[attr-defined]
    with pytest.raises(ArtifactError, match=rf"(?s)breedclf\.json is not a valid model card: .*{message}"):
        Classifier(edited(preprocessing={**preprocessing, **changes}))


@pytest.mark.parametrize(
    ("old", "new"),
    [("0.485", "NaN"), ("0.229", "Infinity"), ("0.229", "-Infinity"), ("0.229", "1e999")],
)
def test_preprocessing_that_is_no_number(model: Path, edited: Callable[..., Path], old: str, new: str) -> None:
    text = (model / CARD_FILE).read_text().replace(old, new)
    assert new in text
    with pytest.raises(
        ArtifactError, match=r"breedclf\.json is not (valid JSON|a valid model card): .*(is not a JSON|inf)"
    ):
        Classifier(edited(text))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["cat", "cat"]}, "labels contain 'cat' more than once"),
        ({"labels": ["cat", 3]}, r"labels\.1=3: input should be a valid string"),
        ({"labels": ["cat", ""]}, r"labels\.1='': "),
        ({"labels": []}, "labels="),
        ({"labels": "catdog"}, "labels='catdog'"),
        ({"class_names": ["Cat"]}, "there are 2 labels, but 1 class_names"),
        ({"class_names": None}, "class_names=None"),
        ({"schema_version": 0}, "schema_version 0, which breedclf never writes"),
        ({"schema_version": -3}, "schema_version -3, which breedclf never writes"),
        ({"schema_version": True}, "has no schema_version"),
        ({"schema_version": "1"}, "has no schema_version"),
        ({"architecture": "resnet19"}, "architecture='resnet19'"),
        ({"architecture": "resnet50"}, "doesn't fit resnet50: "),
        ({"weights_sha256": "abc"}, "weights_sha256='abc'"),
        ({"min_confidence": 1.0}, "min_confidence=1.0"),
        ({"min_confidence": -0.1}, "min_confidence=-0.1"),
        ({"min_confidence": "high"}, "min_confidence='high'"),
        ({"metrics": {"valid_loss": "low"}}, "valid_loss='low'"),
        ({"metrics": [1]}, "metrics="),
        ({"training": 5}, "training=5"),
        ({"training": {"valid_share": "half"}}, "valid_share='half'"),
        ({"training": {"split_seed": -1}}, "split_seed=-1"),
    ],
)
def test_a_card_that_says_what_it_cannot_mean(
    edited: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtifactError, match=f"(?s){message}"):
        Classifier(edited(**changes))


def test_a_card_that_is_nested_too_deeply(model: Path, edited: Callable[..., Path]) -> None:
    deep = "[" * 200_000 + "]" * 200_000
    text = (model / CARD_FILE).read_text().replace('"training": {}', f'"training": {{"a": {deep}}}')
    assert deep in text
    with pytest.raises(ArtifactError, match=r"breedclf\.json is nested too deeply for a model card"):
        Classifier(edited(text))


def test_a_metric_without_a_value_is_passed_over(edited: Callable[..., Path]) -> None:
    """What was no number has always been written as null."""
    assert read_card(edited(metrics={"valid_loss": None, "valid_accuracy": 0.5})).metrics == {"valid_accuracy": 0.5}


def test_a_card_as_the_first_version_wrote_it(model: Path, edited: Callable[..., Path]) -> None:
    sha256 = json.loads((model / CARD_FILE).read_text())["weights_sha256"]
    text = """{"schema_version": 1, "architecture": "resnet18", "labels": ["001.Lying", "002.Standing"],
        "class_names": ["Lying", "Standing"], "preprocessing": {"resize_px": 256, "crop_px": 224,
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "interpolation": "bilinear", "dct_scaling": false},
        "weights_sha256": "SHA", "min_confidence": null, "breedclf_version": "0.1.0", "torch_version": "2.8.0",
        "metrics": {"valid_loss": 0.14, "valid_accuracy": 1.0}, "data_fingerprint": "ff", "bundle_sha256": null,
        "training": {"data": "pictures", "architecture": "resnet18", "valid_share": 0.15, "test_share": 0.15,
        "split_seed": 0, "weights": "none", "best_epoch": 5}}"""
    assert Classifier(edited(text.replace("SHA", sha256))).predict(IMAGE).best.class_name in ("Lying", "Standing")


def test_paths_that_lead_to_no_model(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path, message in [
        (model / WEIGHTS_FILE, "is a file, not a breedclf model; give the directory"),
        (tmp_path / "nowhere", "it doesn't exist"),
        (tmp_path / ("x" * 300), "can't be read: File name too long"),
        (loop, "it doesn't exist"),
    ]:
        with pytest.raises(ArtifactError, match=message):
            Classifier(path)
        assert main(["predict", str(path), "image.png"]) == 3
        assert message in capsys.readouterr().err
    link = tmp_path / "link"
    link.symlink_to(model)
    assert Classifier(link).class_names == ("Cat", "Dog")
