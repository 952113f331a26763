"""Jobs as views: what is chosen from a list, what metrics show, logs of any size, and how a job is repeated."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from breedclf.api.training_job import training_spec
from breedclf.backends.common.folder import DamagedJobError, JobFolder, create_job_folder, job_folder
from breedclf.backends.local.backend import LocalBackend
from breedclf.cli import train
from breedclf.cli.flags import training_config
from breedclf.config import TrainingConfig
from breedclf.jobs import JobDescription, JobSpec, JobStatus, MetricRecord, SecondaryStatus
from breedclf.overview.job_metrics import metrics_of, progress_of
from breedclf.overview.jobs import JobView, choose
from breedclf.overview.lists import Choice
from breedclf.overview.logs import END_BYTES, PART_BYTES, log_end, log_part
from breedclf.overview.repeating import changed_settings, repeating, training_config_of
from tests.console.running import add_job, overview_in


def job(name: str, *, created: float = 0.0, search: str = "", **pairs: str) -> JobView:
    described = JobDescription(name, JobStatus.COMPLETED, SecondaryStatus.COMPLETED, created, hyperparameters=pairs)
    return JobView(described, search)


JOBS = (
    job("first", learning_rate="0.010", optimizer="adamw"),
    job("second", search="dogs", architecture='"resnet18"'),
    job("third", optimizer="sgd", learning_rate="0.1"),
)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("", ["third", "second", "first"]),
        ("IR", ["third", "first"]),
        ("dogs", ["second"]),
        ("adamw", ["first"]),
        ("learning-rate=0.01", ["first"]),
        ("learning_rate=1e-1", ["third"]),
        ("architecture=resnet18", ["second"]),
        ("optimizer=ad", []),
        ("third sgd", ["third"]),
    ],
)
def test_jobs_are_found_by_name_search_and_hyperparameters(words: str, names: list[str]) -> None:
    assert [each.name for each in choose(JOBS, Choice(words)).shown] == names


def test_pages_hold_the_newest_first_and_wrong_numbers_are_the_nearest_page() -> None:
    jobs = [job(f"job-{number}") for number in range(7)]
    page = choose(jobs, Choice(page=2, size=3))
    assert ([each.name for each in page.shown], page.pages, page.count) == (["job-3", "job-2", "job-1"], 3, 7)
    assert choose(jobs, Choice(page=99, size=3)).page == 3
    assert choose(jobs, Choice(page=-1, size=3)).page == 1


def at(time: float, **values: float) -> MetricRecord:
    return MetricRecord(time, values)


def test_losses_share_a_chart_and_epochs_are_the_axis() -> None:
    found = metrics_of(
        [
            at(1, epoch=1, train_loss=3.0, valid_loss=4.0, valid_accuracy=0.5),
            at(2, epoch=2, train_loss=2.0, valid_loss=3.0, valid_accuracy=0.6),
            at(3, epoch=2, train_loss=1.0, valid_loss=2.0, valid_accuracy=0.7),
            at(4, best_epoch=2),
        ]
    )
    assert [(group.title, [curve.name for curve in group.curves]) for group in found.groups] == [
        ("Loss", ["train_loss", "valid_loss"]),
        ("Accuracy", ["valid_accuracy"]),
    ]
    assert (found.groups[0].curves[0].x, found.groups[0].curves[0].y) == ((1, 2), (3.0, 1.0))
    assert found.last == {"best_epoch": 2}


def test_metrics_without_epochs_are_drawn_by_report() -> None:
    found = metrics_of([at(1, score=3.0), at(2, score=2.0)])
    assert (found.x_name, found.groups[0].curves[0].x) == ("report", (1, 2))


@pytest.mark.parametrize(
    ("records", "epochs", "expected"),
    [
        ([], "3", None),
        ([at(100, loss=1)], "3", None),
        ([at(130, epoch=1)], "4", (1, 4, 220)),
        ([at(160, epoch=1), at(170, epoch=2)], "4", (2, 4, 190)),
        ([at(160, epoch=1), at(170, epoch=4)], "4", (4, 4, None)),
        ([at(160, epoch=1), at(150, epoch=2)], "4", (2, 4, None)),
        ([at(160, epoch=1), at(170, epoch=2)], "many", (2, None, None)),
        ([at(160, epoch=float("nan"))], "4", None),
    ],
)
def test_progress(records: list[MetricRecord], epochs: str, expected: tuple[int, int | None, float | None]) -> None:
    found = progress_of(records, {"epochs": epochs}, 100.0)
    assert (None if found is None else (found.epoch, found.epochs, found.due)) == expected


# Logs


END = 'epoch 1\nbreedclf-metrics {"epoch": 1}\n10%\r99%\rdone \xe9\n'.encode()


def test_the_end_of_a_log_of_a_gigabyte_is_read_alone(tmp_path: Path) -> None:
    folder = add_job(tmp_path, "job")
    with folder.log_file.open("wb") as file:
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + END)
    backend = overview_in(tmp_path).backend
    end = log_end(backend, "job")
    assert end.lines[-2:] == ("epoch 1", "done \xe9")
    assert (end.size, end.hidden) == (folder.log_file.stat().st_size, 1)
    assert end.size is not None
    assert end.position == end.size - len(END)
    last = log_part(backend, "job", (end.size - 1) // PART_BYTES * PART_BYTES)
    assert last.after is None
    assert last.lines[-1] == "done \xe9"


UNEVEN = [f"line {number} " + "é" * (number % 300) for number in range(2_000)]
EVEN = [f"{number:063}" for number in range(3 * PART_BYTES // 64)]  # a part starts where a line does


@pytest.mark.parametrize("lines", [UNEVEN, EVEN], ids=["uneven", "even"])
def test_the_parts_of_a_log_hold_each_line_once(tmp_path: Path, lines: list[str]) -> None:
    add_job(tmp_path, "job", log="\n".join(lines) + "\n")
    backend = overview_in(tmp_path).backend
    found: list[str] = []
    position: int | None = 0
    while position is not None:
        part = log_part(backend, "job", position)
        found += part.lines
        position = part.after
    assert found == lines


def test_a_line_longer_than_a_part_is_cut_and_shortened(tmp_path: Path) -> None:
    add_job(tmp_path, "job", log="x" * (3 * PART_BYTES))
    backend = overview_in(tmp_path).backend
    for position in (0, PART_BYTES, 2 * PART_BYTES, 10**15):
        (line,) = log_part(backend, "job", position).lines
        assert line.startswith("xxxx")
        assert "characters more" in line
    assert len(log_end(backend, "job").lines) <= 1


def test_a_job_without_a_log_has_an_empty_one(tmp_path: Path) -> None:
    add_job(tmp_path, "job")
    backend = overview_in(tmp_path).backend
    assert log_end(backend, "job").lines == log_part(backend, "job", 5).lines == ()
    assert END_BYTES < PART_BYTES


# Lists


def test_ended_jobs_are_read_again_only_if_they_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        add_job(tmp_path, name)
    backend = overview_in(tmp_path).backend
    assert [each.name for each in backend.list_jobs()] == ["a", "b"]
    read: list[str] = []
    original: Callable[[JobFolder], JobDescription] = JobFolder.read_description

    def counted(folder: JobFolder) -> JobDescription:
        read.append(folder.name)
        return original(folder)

    monkeypatch.setattr(JobFolder, "read_description", counted)
    backend.list_jobs()
    assert read == []
    job_folder(tmp_path / "home", "b").state_file.write_text("{")
    assert {each.name: bool(each.details.get("damaged")) for each in backend.list_jobs()} == {"a": False, "b": True}
    backend.list_jobs()
    assert read == ["b"]
    backend.delete("b")
    add_job(tmp_path, "c")
    assert [each.name for each in backend.list_jobs()] == ["a", "c"]


def damage(folder: JobFolder, kind: str) -> None:
    file = folder.state_file
    match kind:
        case "missing":
            file.unlink()
        case "empty":
            file.write_text("")
        case "folder":
            file.unlink()
            file.mkdir()
        case "other name":
            file.write_text(file.read_text().replace(folder.name, "other"))
        case "binary":
            file.write_bytes(b"\xff\x00" * 100)


@pytest.mark.parametrize("kind", ["missing", "empty", "folder", "other name", "binary"])
def test_damaged_jobs_are_shown_beside_others(tmp_path: Path, kind: str) -> None:
    add_job(tmp_path, "well")
    damage(add_job(tmp_path, "broken"), kind)
    overview = overview_in(tmp_path)
    jobs = {each.name: each for each in overview.jobs().value or ()}
    assert (jobs["broken"].status, jobs["well"].status) == ("Damaged", "Completed")
    assert "breedclf jobs clean broken" in (jobs["broken"].description.failure_reason or "")
    assert (found := overview.job("broken").value) is not None
    assert found.is_damaged
    overview.backend.delete("broken")
    assert [each.name for each in overview_in(tmp_path).jobs().value or ()] == ["well"]


# Repeating


def spec_of(folder: Path, **settings: Any) -> JobSpec:
    return training_spec(TrainingConfig(data=folder, **settings), name="job")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"epochs": 7, "learning_rate": 1e-05, "checkpoints": False, "deterministic": True},
        {"metrics": "tests.own_code:missing_recall", "loss": "tests.own_code:milder", "patience": 2},
        {"cache_dir": "my cache", "min_confidence": 0.25, "log_to": "tensorboard", "freeze": "layer4"},
        {"weights": "none", "architecture": "resnet18", "mlflow_experiment": 'a "quoted" $HOME'},
    ],
    ids=["defaults", "numbers", "code", "texts", "quotes"],
)
def test_python_and_command_give_the_settings_of_the_job(tmp_path: Path, settings: dict[str, Any]) -> None:
    data = tmp_path / "my photos"
    data.mkdir()
    spec = spec_of(data, **settings)
    expected = training_config_of(spec).to_dict()
    assert expected == TrainingConfig(data=data, **settings).to_dict() | {
        name: expected[name] for name in ("cache_dir",) if name in expected
    }
    found = repeating(spec, "local")
    assert found is not None
    code, _, submitted = found.python.partition("job = ")
    assert submitted == "Trainer(config, backend='local').submit()\n"
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["config"].to_dict() == expected
    assert parsed(found.command).to_dict() == expected


def parsed(command: str) -> TrainingConfig:
    program, word, *flags = shlex.split(command)
    assert (program, word) == ("breedclf", "train")
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    arguments = parser.parse_args(flags)
    assert arguments.backend == "local"
    return training_config(arguments, environment={})


def test_only_what_differs_from_the_defaults_is_named(tmp_path: Path) -> None:
    found = repeating(spec_of(tmp_path, epochs=7), "local")
    assert found is not None
    assert found.command == f"breedclf train {tmp_path} --epochs 7 --backend local"
    assert changed_settings(TrainingConfig(data=tmp_path, epochs=3)) == {"data": str(tmp_path)}


def test_limits_of_the_job_are_part_of_the_python_and_told_of_the_command(tmp_path: Path) -> None:
    spec = spec_of(tmp_path).replace(max_runtime_seconds=60, spot=True)
    found = repeating(spec, "local")
    assert found is not None
    assert ".submit(max_runtime_seconds=60, spot=True)" in found.python
    assert found.notes == ("The command has no flag for max_runtime_seconds=60 and spot=True; Python does.",)


def test_jobs_of_other_kinds_have_no_such_code(tmp_path: Path) -> None:
    (tmp_path / "train.py").touch()
    assert repeating(JobSpec("job", source=tmp_path), "local") is None
    assert repeating(JobSpec("job", {"epochs": "3"}), "local") is None
    assert repeating(JobSpec("job", {"rounds": "3"}, {"training": tmp_path}), "local") is None


def test_a_record_names_channels_and_folders(tmp_path: Path) -> None:
    spec = JobSpec("job", {"epochs": "2"}, {"training": tmp_path})
    folder = create_job_folder(tmp_path / "home", spec, backend="local", options={"cores": 2}, now=1000.0)
    folder.model.mkdir(parents=True)
    (folder.model / "breedclf.json").touch()
    overview = overview_in(tmp_path)
    record = overview.job_record("job").value
    assert record is not None
    assert (record.spec.channels, record.options, record.folders) == (
        {"training": tmp_path},
        {"cores": 2},
        {"model": folder.model},
    )
    folder.state_file.write_text("{")
    with pytest.raises(DamagedJobError):
        LocalBackend(tmp_path / "home").record("job")
