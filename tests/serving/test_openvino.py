"""OpenVINO as the engine: the answers are torch's, int8 is refused when it costs accuracy, and torch stays idle."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from breedclf.cli import main
from breedclf.errors import ArtifactError, ConfigError, DataError, ParityError
from breedclf.files.sealed_folder import seal
from breedclf.inference.classifier import Classifier
from breedclf.jobs.endpoints import EndpointSpec, EngineChoice
from breedclf.serving.http.app import Service
from breedclf.serving.parity import check_parity, reference_of
from tests.serving.conftest import CLASSES, draw, encode, post, running

if importlib.util.find_spec("openvino") is None or importlib.util.find_spec("nncf") is None:
    pytest.skip("the extra openvino isn't installed", allow_module_level=True)

from breedclf.features.openvino_maker import check_accuracy
from breedclf.serving.engines import openvino as openvino_engine
from breedclf.serving.engines.openvino import files_for
from breedclf.serving.engines.openvino_model import check_known, make


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """A valid split whose labels are what the model says about the images."""
    root, classifier = tmp_path_factory.mktemp("calibration"), Classifier(model, precision="fp32")
    for name in (f"{number:03}.{each}" for number, each in enumerate(CLASSES, 1)):
        (root / "valid" / name).mkdir(parents=True)
    for seed in range(24):
        noise = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        image = Image.fromarray(noise).resize((40, 40), Image.Resampling.BICUBIC)
        label = classifier.predict(image).best.label
        image.save(root / "valid" / label / f"{seed}.png")
    return root


def test_it_answers_as_torch_does(model: Path, other_model: Path) -> None:
    with running(model, Service(engine=EngineChoice("openvino", "fp32"))) as (url, server):
        pipeline = server.service.pipeline
        assert pipeline is not None
        check_parity(url, model, reference=pipeline.engine.reference())
        with pytest.raises(ParityError, match="the deployment is refused"):
            check_parity(url, other_model)
        image = encode(draw(3))
        got = {each["label"]: each["probability"] for each in post(url + "/invocations", image).json()["predictions"]}
        expected = Classifier(model, precision="fp32").predict(image)
        assert got == pytest.approx({each.label: each.probability for each in expected.ranked}, abs=1e-4)
        refused = post(url + "/invocations?explain=1", image)
        assert (refused.status, refused.json()["error"]["code"]) == (400, "NoExplanation")
        assert "serve the model with --engine torch" in refused.json()["error"]["message"]
        several = [draw(seed) for seed in range(5)]
        together = pipeline.engine.forward([pipeline.engine.decode(encode(each)) for each in several])
        assert [each.best.label for each in together] == [
            Classifier(model, precision="fp32").predict(encode(each)).best.label for each in several
        ]


def test_its_files_are_made_once_and_for_these_weights(
    model: Path, other_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = EngineChoice("openvino", "fp32")
    first = files_for(model, choice)
    monkeypatch.setattr(openvino_engine, "_make", lambda *_: pytest.fail("they are there already"))
    assert files_for(model, choice) == first == files_for(model, EngineChoice("openvino", "bf16"))
    with pytest.raises(pytest.fail.Exception):
        files_for(other_model, choice)


def test_distances_are_those_of_torch(model_with_bank: Path) -> None:
    classifier = Classifier(model_with_bank, precision="fp32")
    images = [encode(draw(seed)) for seed in (*range(4), *range(40, 44))]
    with running(model_with_bank, Service(engine=EngineChoice("openvino", "fp32"))) as (url, server):
        pipeline = server.service.pipeline
        assert pipeline is not None
        check_parity(url, model_with_bank, reference=reference_of(classifier))
        check_parity(url, model_with_bank, reference=pipeline.engine.reference())
        got = pipeline.engine.forward([pipeline.engine.decode(image) for image in images])
        assert post(url + "/invocations", images[0]).json()["distance"] == pytest.approx(got[0].distance, abs=1e-5)
    expected = [classifier.predict(image) for image in images]
    assert [each.distance for each in got] == pytest.approx([each.distance for each in expected], abs=1e-4)


def test_files_without_features_are_made_again(model_with_bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier version converted models with a bank without their features, under the same card."""
    choice = EngineChoice("openvino", "fp32")
    with monkeypatch.context() as earlier:
        earlier.setattr(openvino_engine, "has_bank", lambda _model: False)
        before = openvino_engine._key(model_with_bank, choice)
    assert openvino_engine._key(model_with_bank, choice) != before


def test_files_of_another_model_in_their_place_are_not_served(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    choice = EngineChoice("openvino", "fp32")
    found = files_for(model, choice)
    whole = {path.name: path.read_bytes() for path in found.iterdir()}
    seal(found, "the key of another model")

    def made_again(_model: Path, target: Path, _choice: EngineChoice) -> None:
        for name in ("about.json", "model.bin", "model.xml"):
            (target / name).write_bytes(whole[name])

    monkeypatch.setattr(openvino_engine, "_make", made_again)
    assert files_for(model, choice) == found
    assert "damaged or of another version; creating them again" in caplog.text
    assert {path.name: path.read_bytes() for path in found.iterdir()} == whole


@pytest.mark.slow
def test_int8_is_measured_on_the_users_images(model: Path, images: Path) -> None:
    choice = EngineChoice("openvino", "int8", images, max_accuracy_drop=0.9)
    with running(model, Service(engine=choice)) as (url, server):
        pipeline = server.service.pipeline
        assert pipeline is not None
        check_parity(url, model, reference=pipeline.engine.reference())
        about = pipeline.engine._about  # type: ignore[attr-defined]
    assert about["pictures"] == 24
    assert about["accuracy_before"] == 1.0
    with pytest.raises(DataError, match="the valid split has 24 images, too few to measure a drop of 1.0%"):
        files_for(model, EngineChoice("openvino", "int8", images))


@pytest.mark.slow
def test_int8_says_for_how_many_images_it_changes_whether_they_are_known(
    model_with_bank: Path, images: Path, tmp_path: Path
) -> None:
    about = make(model_with_bank, tmp_path, calibration=images, max_accuracy_drop=0.9)
    assert about.distances is not None
    assert about.known_changed is not None
    assert 0 <= about.known_changed <= 1
    assert len(about.distances) == len(about.expected) == 4


def test_a_change_of_what_is_known_is_refused() -> None:
    check_known(0.05, images=100, max_drop=0.01)
    check_known(0.1, images=100, max_drop=0.1)
    with pytest.raises(ParityError, match="for 6.0% of the 100 valid images whether they are known.* exceeds 5.0%"):
        check_known(0.06, images=100, max_drop=0.01)


@pytest.mark.parametrize(
    ("before", "after", "fine"), [(0.9, 0.9, True), (0.9, 0.89, True), (0.9, 0.88, False), (0.5, 0.9, True)]
)
def test_a_loss_of_accuracy_is_refused(before: float, after: float, fine: bool) -> None:
    if fine:
        check_accuracy(before, after, images=200, max_drop=0.0101)
        return
    with pytest.raises(ParityError, match="int8 classifies 88.0% of the 200 valid images correctly, 90.0% without it"):
        check_accuracy(before, after, images=200, max_drop=0.0101)


def test_a_damaged_model_is_refused_at_each_start(model: Path, tmp_path: Path) -> None:
    files_for(model, EngineChoice("openvino", "fp32"))
    for file in model.iterdir():
        content = bytearray(file.read_bytes())
        if file.suffix == ".safetensors":
            content[-500] ^= 1
        (tmp_path / file.name).write_bytes(content)
    with pytest.raises(ArtifactError, match="is damaged or was replaced"):
        files_for(tmp_path, EngineChoice("openvino", "fp32"))


def test_without_the_extra_it_is_said_how_to_get_it(model: Path, tmp_path: Path) -> None:
    script = f"""
import importlib.abc, sys
import importlib.util as util
known = util.find_spec
util.find_spec = lambda name, *rest: None if name == "openvino" else known(name, *rest)
from breedclf.cli import main
sys.exit(main(["serve", {str(model)!r}, "--port", "0", "--engine", "openvino"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 2
    assert "engine=openvino needs openvino, which is not installed: pip install 'breedclf[openvino]'" in done.stderr


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "onnx"}, "engine='onnx': use torch or openvino"),
        ({"precision": "int8"}, "precision='int8': engine torch computes in auto, fp32, bf16"),
        ({"name": "openvino", "precision": "int8"}, "precision=int8 needs calibration"),
        ({"calibration": Path("x")}, "calibration is for precision=int8"),
        ({"max_accuracy_drop": 1.5}, "max_accuracy_drop=1.5: choose a share between 0 and 1"),
    ],
)
def test_choices_that_make_no_sense(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        EngineChoice(**values)  # type: ignore[arg-type]
    assert message in str(error.value)


def test_a_choice_travels_to_the_worker(tmp_path: Path) -> None:
    choice = EngineChoice("openvino", "int8", tmp_path, 0.05)
    assert EngineChoice.from_dict(choice.to_dict()) == choice
    assert choice.flags()[-2:] == [f"--calibration={tmp_path}", "--max-accuracy-drop=0.05"]
    assert EndpointSpec("x", tmp_path).engine == EngineChoice()


def test_a_wrong_choice_on_the_command_line(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(model), "--engine", "openvino", "--precision", "int8"]) == 2
    assert "needs calibration" in capsys.readouterr().err


SIGNALLED = """
import gc, os, signal
import numpy as np
import openvino
from openvino import opset13
from breedclf.features.openvino import compiled
numbers = opset13.parameter([1, 8], np.float32)
model = openvino.Model([opset13.relu(numbers)], [numbers])
first, second = compiled(model, "fp32"), compiled(model, "fp32")
second(np.ones((1, 8), np.float32))
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_signals_are_handled_after_networks_were_deleted_in_any_order() -> None:
    done = subprocess.run([sys.executable, "-c", SIGNALLED], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
