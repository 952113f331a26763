"""`Trainer.fit` on SageMaker: submitted, waited for, fetched, and equal to training in this process."""

from __future__ import annotations

from pathlib import Path

from breedclf import Trainer, TrainingConfig
from breedclf.backends.emulator.server import Emulator
from tests.backends.sagemaker.contexts import backend_at
from tests.backends.test_training_job import weights_of
from tests.integration.conftest import QUICK, write_patterns


def test_fit_on_sagemaker_gives_the_same_result(quick: Emulator, quick_bucket: str, tmp_path: Path) -> None:
    settings = {**QUICK, "device": "cpu", "epochs": 2, "data": write_patterns(tmp_path / "images")}
    here = Trainer(TrainingConfig(output=tmp_path / "here", **settings)).fit()  # type: ignore[arg-type]
    backend = backend_at(quick, quick_bucket, tmp_path / "home")
    there = Trainer(TrainingConfig(output=tmp_path / "there", **settings), backend=backend).fit()  # type: ignore[arg-type]
    assert weights_of(there.artifact) == weights_of(here.artifact)
    assert there.artifact == tmp_path / "there/model"
    assert [each.valid_loss for each in there.history] == [each.valid_loss for each in here.history]
    assert (there.best_epoch, there.skipped) == (here.best_epoch, [])
    image = next((tmp_path / "images/test").rglob("*.png"))
    assert there.classifier.predict(image).top(1) == here.classifier.predict(image).top(1)


def test_a_table_sends_only_the_listed_images(quick: Emulator, quick_bucket: str, tmp_path: Path) -> None:
    images = write_patterns(tmp_path / "images", counts={"train": 4, "valid": 2, "test": 1})
    elsewhere = tmp_path / "elsewhere.png"
    paths = [path for path in sorted(images.rglob("*.png")) if path.parts[-3] != "test"]
    paths[0].rename(elsewhere)
    rows = [f"../elsewhere.png,{paths[0].parent.name},train,"]
    rows += [f"{path.relative_to(images)},{path.parent.name},{path.parts[-3]}," for path in paths[1:]]
    (images / "images.csv").write_text("\n".join(["filename,breed,split,group", *rows]))
    settings = {**QUICK, "device": "cpu", "epochs": 1, "data": images / "images.csv"}
    here = Trainer(TrainingConfig(output=tmp_path / "here", **settings)).fit()  # type: ignore[arg-type]
    backend = backend_at(quick, quick_bucket, tmp_path / "home")
    there = Trainer(TrainingConfig(output=tmp_path / "there", **settings), backend=backend).fit()  # type: ignore[arg-type]
    assert weights_of(there.artifact) == weights_of(here.artifact)
    sent = backend.storage.entries(f"s3://{quick_bucket}/breedclf/data")
    names = [entry.name.partition("/")[2] for entry in sent if entry.name.endswith((".png", ".csv"))]
    listed = [path.relative_to(images).as_posix() for path in paths[1:]]
    (outside,) = set(names) - {*listed, "breedclf-images.csv"}
    assert len(names) == len(listed) + 2
    assert outside.startswith("elsewhere/")
