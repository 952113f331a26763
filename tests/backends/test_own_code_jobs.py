"""Own loss, sampler and metrics in whole runs: here, as jobs that carry their modules, in searches, and resumed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from breedclf import Categorical, Classifier, InlineBackend, LocalBackend, Trainer, TrainingConfig, TuningJob
from breedclf.api.native_tuning import native_search
from breedclf.api.training_job import training_spec
from breedclf.backends.common.bundle import breedclf_bundle
from breedclf.backends.emulator.server import Emulator
from breedclf.cli import main
from breedclf.errors import ConfigError, JobFailedError
from breedclf.files.package import OWN_CODE_FOLDER
from breedclf.jobs.handle import Job
from breedclf.training.results.result import FitResult
from breedclf.tuning.search_request import SearchRequest
from tests.backends.sagemaker.contexts import backend_at
from tests.backends.test_training_job import weights_of
from tests.integration.conftest import RESNET, write_patterns

OWN_CODE = (Path(__file__).resolve().parents[1] / "own_code.py").read_text(encoding="utf-8")
MODULES = {
    # The loss comes from a package that imports a module beside it; the sampler from a file outside of `sys.path`.
    "lossesofmine/__init__.py": "",
    "lossesofmine/focal.py": "from codeofmine import Focal\ndef strong():\n    return Focal(3.0)\n",
    "codeofmine.py": OWN_CODE,
}
OWN: dict[str, Any] = {
    "loss": "lossesofmine.focal:strong",
    "metrics": "codeofmine:accuracy,recall=codeofmine:missing_recall",
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_patterns(tmp_path_factory.mktemp("own") / "images")


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the modules, which is on `sys.path`."""
    folder = tmp_path_factory.mktemp("modules")
    for name, text in MODULES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere/sampler-of-mine.py").write_text(OWN_CODE)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in ("codeofmine", "lossesofmine", "lossesofmine.focal"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def config(images: Path, modules: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingConfig:
    file = modules / "elsewhere/sampler-of-mine.py"
    output = tmp_path_factory.mktemp("here") / "out"
    settings = {**RESNET, "data": images, "output": output, "device": "cpu", "epochs": 2, "batch_size": 8}
    return TrainingConfig(**settings, **OWN, sampler=f"{file}:balanced")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def fitted_here(config: TrainingConfig) -> FitResult:
    return Trainer(config).fit()


def test_a_run_here_records_the_metrics(fitted_here: FitResult, config: TrainingConfig) -> None:
    best = fitted_here.best
    assert best.metrics["accuracy"] == pytest.approx(best.valid_accuracy)
    lines = [json.loads(line) for line in (fitted_here.output / "history.jsonl").read_text().splitlines()]
    assert lines[0]["metrics"] == {"accuracy": fitted_here.history[0].metrics["accuracy"], "recall": None}
    card = json.loads((fitted_here.artifact / "breedclf.json").read_text())
    assert card["metrics"]["accuracy"] == best.metrics["accuracy"]
    assert "recall" not in card["metrics"]
    assert card["training"]["loss"] == "lossesofmine.focal:strong"
    plain = Trainer(config.replace(loss="cross_entropy", output=config.output.with_name("plain"))).fit()
    assert weights_of(plain.artifact) != weights_of(fitted_here.artifact)


def test_a_local_job_carries_the_modules(fitted_here: FitResult, config: TrainingConfig, tmp_path: Path) -> None:
    import codeofmine  # type: ignore[import-not-found]

    backend = LocalBackend(tmp_path / "home", gpus=())
    trainer = Trainer(config.replace(output=tmp_path / "out"), backend, metrics={"again": codeofmine.accuracy})
    result = trainer.fit()
    assert weights_of(result.artifact) == weights_of(fitted_here.artifact)
    assert result.best.metrics["again"] == result.best.metrics["accuracy"] == fitted_here.best.metrics["accuracy"]
    (job,) = backend.list_jobs()
    handle = Job(job.name, backend)
    assert handle.metrics["again"] == result.history[-1].metrics["again"]
    assert "recall" not in handle.metrics, "it is NaN"
    spec = training_spec(config)
    assert sorted(spec.modules) == ["codeofmine.py", "lossesofmine", "sampler-of-mine.py"]
    assert spec.hyperparameters["sampler"] == "sampler-of-mine.py:balanced", "no path of this machine is sent"


def test_an_inline_job_has_them_and_leaves_none_behind(
    fitted_here: FitResult, config: TrainingConfig, tmp_path: Path
) -> None:
    path = list(sys.path)
    result = Trainer(config.replace(output=tmp_path / "out"), InlineBackend(tmp_path / "home")).fit()
    assert weights_of(result.artifact) == weights_of(fitted_here.artifact)
    assert sys.path == path


@pytest.mark.slow
def test_a_job_on_sagemaker_carries_them(
    quick: Emulator, quick_bucket: str, fitted_here: FitResult, config: TrainingConfig, tmp_path: Path
) -> None:
    backend = backend_at(quick, quick_bucket, tmp_path / "home")
    result = Trainer(config.replace(output=tmp_path / "out"), backend).fit()
    assert weights_of(result.artifact) == weights_of(fitted_here.artifact)
    job = backend.list_jobs()[-1]
    assert backend.describe(job.name).metrics["accuracy"] == pytest.approx(result.history[-1].metrics["accuracy"])


def test_sagemaker_refuses_code_that_is_only_installed_here(
    quick: Emulator, quick_bucket: str, config: TrainingConfig, tmp_path: Path
) -> None:
    backend = backend_at(quick, quick_bucket, tmp_path / "home")
    before = backend.list_jobs()
    with pytest.raises(ConfigError, match="loss optuna.trial:Trial: optuna is installed on this machine, but a job on"):
        Trainer(config.replace(loss="optuna.trial:Trial"), backend).submit()
    assert backend.list_jobs() == before


def test_a_job_without_the_module_fails_with_its_name(config: TrainingConfig, tmp_path: Path) -> None:
    backend = InlineBackend(tmp_path)
    spec = training_spec(config, name="without")
    backend.submit(spec.replace(modules={}, hyperparameters={**spec.hyperparameters, "loss": "gone_in_the_job:focal"}))
    with pytest.raises(JobFailedError, match="loss gone_in_the_job:focal: there is no module 'gone_in_the_job'"):
        Job("without", backend).wait()


def test_functions_that_a_job_could_not_import_are_refused_at_once(config: TrainingConfig, tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path / "home", gpus=())
    with pytest.raises(ConfigError, match="metric x is a lambda, which a job can't import"):
        Trainer(config, backend, metrics={"x": lambda _p, _t: 1.0}).submit()
    with pytest.raises(ConfigError, match="metric accuracy is given twice"):
        Trainer(config, metrics={"accuracy": lambda _p, _t: 1.0}).fit()
    with pytest.raises(ConfigError, match="lossesofmine.focal has no 'weak'"):
        Trainer(config.replace(loss="lossesofmine.focal:weak"), backend).submit()
    assert backend.list_jobs() == []


def test_the_command_line_imports_from_the_current_folder(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "beside.py").write_text(OWN_CODE)
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    words = [
        "train",
        str(images),
        "--architecture",
        "resnet18",
        "--weights",
        "none",
        "--epochs",
        "1",
        "--device",
        "cpu",
    ]
    assert main([*words, "--loss", "beside:milder", "--metrics", "beside:accuracy", "--json"]) == 0
    out, err = capsys.readouterr()
    (record,) = json.loads(out)["history"]
    assert f"accuracy {record['metrics']['accuracy']:.4f}  " in err
    assert sys.path == path
    assert main([*words, "--loss", "besides:milder"]) == 2
    assert "there is no module 'besides': did you mean 'beside'?" in capsys.readouterr().err


def test_resuming_refuses_changed_code_but_not_other_metrics(images: Path, tmp_path: Path) -> None:
    file = tmp_path / "edited.py"
    file.write_text(OWN_CODE)
    settings = {**RESNET, "data": images, "device": "cpu", "output": tmp_path / "out"}
    config = TrainingConfig(**settings, epochs=1, loss=f"{file}:milder", metrics=f"{file}:accuracy")  # type: ignore[arg-type]
    Trainer(config).fit()
    longer = config.replace(epochs=2)
    file.write_text(OWN_CODE.replace("Focal(1.0)", "Focal(1.5)"))
    with pytest.raises(ConfigError, match="the code of your loss has changed since the checkpoint was made; restore"):
        Trainer(longer).fit(resume=True)
    file.write_text(OWN_CODE)
    resumed = Trainer(longer.replace(metrics=f"again={file}:accuracy")).fit(resume=True)
    assert [list(record.metrics) for record in resumed.history] == [["accuracy"], ["again"]]
    with pytest.raises(ConfigError, match=r"made with other settings: loss was .*edited.py:milder, is cross_entropy"):
        Trainer(longer.replace(loss="cross_entropy")).fit(resume=True)


def test_a_model_never_imports_the_code_that_trained_it(images: Path, tmp_path: Path) -> None:
    file = tmp_path / "traced.py"
    file.write_text(f"{OWN_CODE}\nopen({str(tmp_path / 'trace')!r}, 'a').close()\n")
    settings = {**RESNET, "data": images, "device": "cpu", "output": tmp_path / "out", "epochs": 1}
    result = Trainer(TrainingConfig(**settings, loss=f"{file}:milder")).fit()  # type: ignore[arg-type]
    (tmp_path / "trace").unlink()
    file.write_text("raise SystemExit\n")
    classifier = Classifier(result.artifact)
    assert len(classifier.predict(next(images.rglob("*.png"))).top(2)) == 2
    saved = json.loads((result.output / "config.json").read_text())
    assert TrainingConfig.from_saved(saved).loss == f"{file}:milder"
    assert not (tmp_path / "trace").exists()


def test_a_search_tries_losses_by_the_same_objective(config: TrainingConfig, tmp_path: Path) -> None:
    space = {"loss": Categorical("cross_entropy", "lossesofmine.focal:strong")}
    tuning = TuningJob(config.replace(epochs=1), space, strategy="grid", home=tmp_path).run().wait()
    assert {trial.hyperparameters["loss"] for trial in tuning.trials} == {*space["loss"].values}
    assert all("accuracy" in trial.metrics for trial in tuning.trials)
    request = SearchRequest(name="x", config=config.replace(loss="cross_entropy"), space=space)
    assert "lossesofmine" in native_search(request).job.modules, "trials that a service starts need it, too"
    with pytest.raises(ConfigError, match="in a search, give a module instead of a file"):
        TuningJob(config, {"loss": Categorical("cross_entropy", "code/mycode.py:focal")}, home=tmp_path)


def test_the_bundle_has_the_modules_beside_breedclf(modules: Path, tmp_path: Path) -> None:
    bundle = breedclf_bundle(
        modules={"lossesofmine": modules / "lossesofmine", "codeofmine.py": modules / "codeofmine.py"}
    )
    assert bundle.files[f"{OWN_CODE_FOLDER}/lossesofmine/focal.py"] == MODULES["lossesofmine/focal.py"].encode()
    assert bundle.content_sha256 != breedclf_bundle().content_sha256
    package = tmp_path / "big"
    package.mkdir()
    (package / ".env").write_text("SECRET=1")
    (package / "__init__.py").touch()
    own = [name for name in breedclf_bundle(modules={"big": package}).files if name.startswith(OWN_CODE_FOLDER)]
    assert own == [f"{OWN_CODE_FOLDER}/big/__init__.py"], "hidden files stay here"
    (package / "weights.bin").write_bytes(b"x" * (21 << 20))
    with pytest.raises(
        ConfigError, match="the module big at .* has 21 MiB; a job takes at most 20: move the code into"
    ):
        breedclf_bundle(modules={"big": package})
    with pytest.raises(ConfigError, match="the module gone.py of the job is no longer at"):
        breedclf_bundle(modules={"gone.py": modules / "gone.py"})
