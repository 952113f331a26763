"""A table of images from the command line: train, evaluate, resume, tune and profile, as with a folder tree."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest

from breedclf import InlineBackend, Trainer, TrainingConfig
from breedclf.api.training_job import training_spec
from breedclf.cli import main
from breedclf.data.image_folder import scan
from breedclf.errors import DataError
from breedclf.profiling.verify import timed_fit
from tests.integration.conftest import QUICK

FLAGS = ["--architecture", "shufflenet_v2_x0_5", "--weights", "none", "--epochs", "1", "--chunk-size", "8"]


def write_table(tree: Path, table: Path) -> Path:
    """The images of a tree as a table, in its order."""
    folder = scan(tree)
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["filename", "breed", "split"])
        for name, split in folder.splits.items():
            for index, target in enumerate(split.targets):
                path = Path(split.images.name(index)).relative_to(table.parent)
                rows.writerow([path, folder.labels[target], name])
    return table


def weights_of(artifact: Path) -> str:
    return hashlib.sha256((artifact / "model.safetensors").read_bytes()).hexdigest()


def test_a_table_gives_the_model_and_the_measures_of_the_tree(
    patterns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_table(patterns, tmp_path / "images.csv")
    for name, data in (("tree", patterns), ("table", table)):
        assert main(["train", str(data), *FLAGS, "--output", str(tmp_path / name), "--json"]) == 0
        capsys.readouterr()
    models = [tmp_path / name / "model" for name in ("tree", "table")]
    assert weights_of(models[0]) == weights_of(models[1])
    measured = []
    for data in (patterns, table):
        assert main(["evaluate", str(models[0]), str(data), "--json"]) == 0
        measured.append(json.loads(capsys.readouterr().out))
    for each in measured:
        del each["report"], each["data"]
        del each["features"]  # the second evaluation reuses those of the first
        for wrong in each["worst"]:
            wrong["path"] = wrong["path"].removeprefix(f"{patterns.name}/")
    assert measured[0] == measured[1]
    assert measured[1]["count"] == 8


def test_a_job_reads_the_table_and_a_table_of_labels(patterns: Path, tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    rows = []
    for number, path in enumerate(sorted(patterns.rglob("*.png"))):
        (tmp_path / "flat" / f"{number:02d}.png").symlink_to(path)
        rows.append(f"{number:02d},{path.parent.name}")
    (tmp_path / "labels.csv").write_text("\n".join(["id,breed", *rows]))
    backend = InlineBackend(tmp_path / "home")
    cases = {
        "table": {"data": write_table(patterns, tmp_path / "images.csv")},
        "labels": {"data": tmp_path / "flat", "labels": tmp_path / "labels.csv"},
    }
    for name, data in cases.items():
        config = TrainingConfig(**data, epochs=1, device="cpu", output=tmp_path / name, **QUICK)
        here = Trainer(config.replace(output=tmp_path / f"{name}-here")).fit()
        there = Trainer(config, backend=backend).fit()
        assert weights_of(here.artifact) == weights_of(there.artifact)
        spec = training_spec(config)
        assert set(spec.channels) == ({"training"} if name == "table" else {"training", "labels"})
        assert not {"data", "labels"} & set(spec.hyperparameters)


def test_a_run_with_missing_files_skips_and_counts_them(
    patterns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_table(patterns, tmp_path / "images.csv")
    with table.open("a") as file:
        file.write("pictures/train/gone.png,001.Lying,train\n")
    words = ["train", str(table), *FLAGS, "--output", str(tmp_path / "out"), "--json"]
    assert main(words) == 3
    assert "1 row whose file doesn't exist (line 34), such as 'pictures/train/gone.png'" in capsys.readouterr().err
    config = TrainingConfig(data=table, epochs=1, on_bad_image="skip", output=tmp_path / "out", **QUICK)
    (skipped,) = Trainer(config).fit().skipped
    assert skipped.startswith(f"{tmp_path}/pictures/train/gone.png can't be read")


def test_labels_beside_images_in_s3_are_refused(tmp_path: Path) -> None:
    config = TrainingConfig(data="s3://mine/dogs", labels=tmp_path / "labels.csv")
    with pytest.raises(
        DataError, match=r"labels=\S*labels.csv is on this machine and the images are in S3: upload both"
    ):
        training_spec(config)


def test_a_search_and_a_profile_read_the_table(
    patterns: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(patterns, tmp_path / "images.csv")
    space = ["--learning-rate", "0.005,0.01", "--strategy", "grid", "--max-jobs", "2"]
    base = [word for word in FLAGS if word not in ("--epochs", "1")]
    assert main(["tune", "images.csv", *base, "--epochs", "1", *space, "--output", "tuned", "--json"]) == 0
    assert [trial["status"] for trial in json.loads(capsys.readouterr().out)["trials"]] == ["Completed"] * 2
    assert main(["profile", "images.csv", *FLAGS, "--output", "profiled", "--json"]) == 0
    capsys.readouterr()
    config = TrainingConfig(data="images.csv", epochs=1, **QUICK)
    assert timed_fit(config)(config) > 0
    curve = Trainer(config).find_learning_rate(steps=10)
    assert curve.suggestion > 0
