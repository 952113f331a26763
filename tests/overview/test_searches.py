"""Searches in folders and on a service: what is listed, how each stands, and what can't be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from breedclf import TrainingConfig, TuningJob
from breedclf.cli import main
from breedclf.console.content import ServerLinks
from breedclf.console.pages.search import SearchPage
from breedclf.errors import BreedclfError, ConfigError
from breedclf.overview.lists import Choice
from breedclf.overview.overview import Overview, places_of
from breedclf.overview.search_commands import resume_command, stop_command, stop_search, train_command
from breedclf.overview.searches import SearchView, choose_searches
from breedclf.overview.studies import Studies
from breedclf.tuning.native import NativeDescription, NativeSummary, NativeTrial
from breedclf.tuning.study import StudyFolder
from tests.console.running import overview_in
from tests.fakes import FakeClock
from tests.overview.planted_searches import CREATED, add_trial, plant
from tests.tuning.bookkeeping_backend import SPACE, BookkeepingBackend, losses
from tests.tuning.native_backend import NativeBackend


def views(folder: Path) -> dict[str, SearchView]:
    look = overview_in(folder).searches()
    assert look.problem == "" and look.value is not None
    return {view.name: view for view in look.value}


def overview_of(backend: BookkeepingBackend) -> Overview:
    return Overview(backend, places_of(backend, home=None, runs=backend.home / "runs", store=backend.home / "models"))


def test_searches_of_the_home_and_of_journeys_are_listed_oldest_first(tmp_path: Path) -> None:
    plant(tmp_path / "home", "newer", created=CREATED + 5)
    plant(tmp_path / "home", "older", (0.5, None, 0.4))
    plant(tmp_path / "runs" / "dogs", "journey-1", created=CREATED + 1)
    found = views(tmp_path)
    assert list(found) == ["older", "journey-1", "newer"]
    assert found["journey-1"].home is not None and found["journey-1"].home.journey == "dogs"
    document = found["older"].to_dict()
    assert document["best"] == {
        "name": "older-003",
        "objective": 0.4,
        "hyperparameters": {"learning_rate": 0.003, "batch_size": 32},
    }
    assert (document["status"], document["trials"]) == ("Completed", {"Completed": 2, "Failed": 1})
    assert (document["done"], document["planned"], document["direction"]) == (3, 10, "minimize")
    assert (document["created"], document["seconds"], document["backend"]) == (CREATED, 33.0, None)
    assert document["folder"] == str(tmp_path / "home" / "tuning" / "older")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "can't be read"),
        ("[" * 100_000, "can't be read"),
        ("[]", "damaged: schema_version is None"),
        ('{"schema_version": 1}', "damaged"),
        ('{"schema_version": 99}', "written by a newer breedclf"),
    ],
    ids=["cut", "deep", "list", "empty", "newer"],
)
def test_a_damaged_search_is_listed_beside_the_others(tmp_path: Path, text: str, problem: str) -> None:
    plant(tmp_path / "home", "good")
    bad = plant(tmp_path / "home", "bad <b>")
    bad.file.write_text(text)
    (tmp_path / "home" / "tuning" / "starting").mkdir()
    (tmp_path / "home" / "tuning" / "file").touch()
    found = views(tmp_path)
    assert list(found) == ["bad <b>", "good"]
    assert found["bad <b>"].status == "Damaged"
    assert problem in found["bad <b>"].reason
    assert found["bad <b>"].to_dict()["best"] is None


def test_a_folder_that_was_copied_is_no_second_search(tmp_path: Path) -> None:
    folder = plant(tmp_path / "home", "dogs")
    copy = plant(tmp_path / "home", "copy")
    copy.file.write_bytes(folder.file.read_bytes())
    assert "is that of 'dogs': rename its folder" in views(tmp_path)["copy"].reason


def test_a_trial_without_a_value_of_the_space_is_damage(tmp_path: Path) -> None:
    plant(tmp_path / "home", "bad", values={"learning_rate": 0.1})
    assert "bad-001 has no value of batch_size" in views(tmp_path)["bad"].reason


def test_numbers_that_are_not_finite_are_not_ranked(tmp_path: Path) -> None:
    folder = plant(tmp_path / "home", "odd", (0.75, 0.5, 0.625))
    text = folder.file.read_text().replace('"objective": 0.75', '"objective": NaN')
    folder.file.write_text(text.replace("0.625", "-Infinity"))
    view = views(tmp_path)["odd"]
    assert view.study is not None and view.best is not None and view.best.name == "odd-002"
    assert len(view.study.trials[0].history) == 2
    assert len(view.study.trials[2].history) == 1
    assert [trial.objective for trial in view.study.trials] == [None, 0.5, None]
    assert "isn't a finite number" in str(view.study.trials[2].note)
    json.dumps(view.to_dict(), allow_nan=False)


def test_a_search_is_interrupted_when_no_process_drives_it(tmp_path: Path) -> None:
    folder = plant(tmp_path / "home", "dogs", status="InProgress", backend="local")
    assert views(tmp_path)["dogs"].status == "Interrupted"
    with folder.locked():
        assert views(tmp_path)["dogs"].status == "InProgress"
        folder.stop_file.touch()
        view = views(tmp_path)["dogs"]
        assert (view.status, view.can_be_stopped) == ("Stopping", False)
    assert views(tmp_path)["dogs"].status == "Interrupted"


def test_looking_neither_writes_nor_keeps_a_process_from_driving(tmp_path: Path) -> None:
    folder = plant(tmp_path / "home", "dogs", status="InProgress")
    before = sorted(tmp_path.rglob("*"))
    views(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    with folder.locked():
        views(tmp_path)
    with folder.locked():
        pass


def test_a_search_of_another_backend_is_shown_as_it_was_seen_last(tmp_path: Path) -> None:
    plant(tmp_path / "home", "dogs", status="InProgress", backend="sagemaker")
    view = views(tmp_path)["dogs"]
    assert (view.status, view.is_elsewhere, view.can_be_stopped) == ("InProgress", True, False)
    with pytest.raises(ConfigError, match="runs on sagemaker, not local"):
        stop_search(view, overview_in(tmp_path).backend)


def test_a_state_is_read_again_only_when_its_file_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [plant(tmp_path / "home", f"dogs-{number}") for number in range(5)]
    overview = overview_in(tmp_path)
    read = list[str]()
    load = StudyFolder.load
    monkeypatch.setattr(StudyFolder, "load", lambda self: read.append(self.path.name) or load(self))

    def look() -> list[str]:
        read.clear()
        overview.folder_looks.forget()
        overview.searches()
        return sorted(read)

    assert look() == [f"dogs-{number}" for number in range(5)]
    assert look() == []
    add_trial(folders[2], 0.1)
    assert look() == ["dogs-2"]
    folders[2].file.unlink()
    assert look() == []
    assert len(overview.studies._known) == 4


def test_a_file_that_cant_be_read_says_so(tmp_path: Path) -> None:
    folder = plant(tmp_path / "home", "gone")
    folder.file.unlink()
    assert "can't be read" in Studies().read(folder).problem


def test_pages_of_a_list() -> None:
    found = [SearchView(f"dogs-{number}", None, None, "damaged") for number in range(5)]
    chosen = choose_searches(found, Choice(words="dogs", page=9, size=2))
    assert ([view.name for view in chosen.shown], chosen.page, chosen.pages) == (["dogs-0"], 3, 3)
    assert chosen.statuses == {"Damaged": 5}
    assert choose_searches(found, Choice(status="Completed")).count == 0
    assert choose_searches(found, Choice(words="4")).count == 1


@pytest.mark.parametrize("name", ["..", ".", "", "a/../dogs", "dogs\0", "../tuning/dogs", "x" * 300])
def test_only_a_name_is_a_search(tmp_path: Path, name: str) -> None:
    plant(tmp_path / "home", "dogs")
    look = overview_in(tmp_path).search(name)
    assert look.value is None and "no search" in look.problem


# Stopping


def test_a_search_that_nobody_drives_is_stopped_at_once(tmp_path: Path) -> None:
    plant(tmp_path / "home", "dogs", (0.5,), status="InProgress", trial_status="InProgress")
    overview = overview_in(tmp_path)
    look = overview.search("dogs")
    assert look.value is not None
    assert stop_search(look.value, overview.backend) == "stopped dogs"
    view = views(tmp_path)["dogs"]
    assert (view.status, view.reason, view.counts) == ("Stopped", "stopped by the user", {"Stopped": 1})
    assert stop_search(view, overview.backend) == "dogs has ended: Stopped"


def test_a_search_that_a_process_drives_is_asked_to_stop(tmp_path: Path) -> None:
    folder = plant(tmp_path / "home", "dogs", status="InProgress")
    overview = overview_in(tmp_path)
    with folder.locked():
        look = overview.search("dogs")
        assert look.value is not None
        assert stop_search(look.value, overview.backend) == "asked dogs to stop"
    assert folder.stop_file.exists()


def test_a_damaged_search_cant_be_stopped(tmp_path: Path) -> None:
    plant(tmp_path / "home", "dogs").file.write_text("{")
    overview = overview_in(tmp_path)
    look = overview.search("dogs")
    assert look.value is not None
    with pytest.raises(ConfigError, match="can't be stopped: .*can't be read"):
        stop_search(look.value, overview.backend)


def test_a_search_of_jobs_stops_its_jobs(data: Path, tmp_path: Path) -> None:
    backend = BookkeepingBackend(tmp_path, losses)
    TuningJob(TrainingConfig(data=data), SPACE, backend=backend, strategy="grid", name="dogs", clock=FakeClock()).run()
    overview = overview_of(backend)
    look = overview.search("dogs")
    assert look.value is not None and look.value.status == "Interrupted"
    stop_search(look.value, backend)
    assert backend.stopped == [job.name for job in backend.list_jobs()]


# Searches that a service runs


class Listing(NativeBackend):
    """Lists its searches and one of another program, which it describes if `is_described`."""

    is_down = False
    is_described = False

    def describe_tuning(self, name: str) -> NativeDescription | None:
        if name != "foreign":
            return super().describe_tuning(name)
        trial = NativeTrial("foreign-1", "Completed", {"eta": "<0.3>"}, CREATED, 0.5, CREATED, CREATED + 5)
        described = NativeDescription("foreign", "InProgress", CREATED, trials=(trial,), best="foreign-1")
        return described if self.is_described else None

    def list_tunings(self) -> list[NativeSummary]:
        if self.is_down:
            raise BreedclfError("the service can't be reached")
        names = [*self.searches, "foreign"]
        return [NativeSummary(name, "InProgress", 2_000_000.0, planned=6, counts={"Completed": 1}) for name in names]


def test_searches_of_a_service_are_listed_and_asked_for(data: Path, tmp_path: Path) -> None:
    backend = Listing(tmp_path, losses)
    TuningJob(TrainingConfig(data=data), SPACE, backend=backend, strategy="grid", name="dogs", clock=FakeClock()).run()
    overview = overview_of(backend)
    found = {view.name: view for view in overview.searches().value or ()}
    assert {name: view.status for name, view in found.items()} == {"dogs": "InProgress", "foreign": "InProgress"}
    assert (found["foreign"].done, found["foreign"].planned, found["foreign"].study) == (1, 6, None)
    look = overview.search("dogs")
    assert look.value is not None and look.value.study is not None and len(look.value.study.trials) == 1
    assert overview.search("foreign").problem.startswith("no search 'foreign'")
    assert stop_search(found["foreign"], backend) == "asked foreign to stop"
    assert stop_command(found["foreign"])[-4:] == ["--stop", "foreign", "--backend", "bookkeeping"]


def test_the_trials_of_another_programs_search_are_shown(tmp_path: Path) -> None:
    backend = Listing(tmp_path, losses)
    backend.is_described = True
    content = SearchPage().content(overview_of(backend), {"name": "foreign"}, ServerLinks())
    parts = {fragment.name: str(fragment.html) for fragment in content.fragments}
    assert "Another program" in parts["verdict"]
    assert "no tuning job &#39;foreign&#39;" in parts["verdict"]
    assert "eta &lt;0.3&gt;" in parts["trials"]
    assert "<strong>foreign-1</strong> (best)" in parts["trials"]
    assert "1 done" in parts["state"]
    assert "tune --stop foreign --backend bookkeeping" in parts["state"]


def test_a_service_that_cant_be_reached_hides_no_search(data: Path, tmp_path: Path) -> None:
    backend = Listing(tmp_path, losses)
    TuningJob(TrainingConfig(data=data), SPACE, backend=backend, strategy="grid", name="dogs", clock=FakeClock()).run()
    backend.is_down = True
    look = overview_of(backend).searches()
    assert look.problem == "the service can't be reached"
    assert [view.name for view in look.value or ()] == ["dogs"]


# Commands


def test_the_terminal_lists_the_same_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert main(["tune", "--list"]) == 0
    assert "no tuning jobs" in capsys.readouterr().out
    plant(tmp_path / "home", "dogs", status="InProgress")
    plant(tmp_path / "home", "bad").file.write_text("{")
    assert main(["tune", "--list", "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert document == {"tunings": [view.to_dict() for view in views(tmp_path).values()]}
    assert main(["tune", "--list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1][:2] == ["bad", "Damaged"]
    assert rows[2][:5] == ["dogs", "Interrupted", "3/10", "valid_loss", "0.2500"]
    assert main(["tune", "--stop", "dogs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "dogs", "done": "stopped dogs"}
    assert main(["tune", "--stop", "cats"]) == 2
    assert "no search 'cats'" in capsys.readouterr().err


def test_commands_find_a_search_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path / "home", "dogs")
    view = views(tmp_path)["dogs"]
    assert resume_command(view) == ["env", f"BREEDCLF_HOME={tmp_path / 'home'}", "breedclf", "tune", "--resume", "dogs"]
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path / "home"))
    assert stop_command(view) == ["breedclf", "tune", "--stop", "dogs"]


def test_the_settings_of_a_trial_on_images_of_a_program_have_no_command(tmp_path: Path) -> None:
    study = plant(tmp_path / "home", "dogs").load()
    config = study.request.config.replace(data=None)
    study = study.model_copy(update={"request": study.request.model_copy(update={"config": config})})
    assert train_command(study, study.trials[0]) is None
