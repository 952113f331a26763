"""The pages of searches: a real search, stored ones in every state, and what can't be shown."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from breedclf import Categorical, TrainingConfig, TuningJob
from breedclf.cli import main
from breedclf.overview.search_commands import train_command, train_python
from breedclf.testing.pages import read_page
from breedclf.tuning.study import Study
from tests.browser import Browser
from tests.console.running import running_console
from tests.integration.conftest import QUICK, write_patterns
from tests.overview.planted_searches import SPACE, add_trial, plant


@dataclass(frozen=True)
class Searched:
    """A search that ran in this process, in `folder`/home."""

    folder: Path
    study: Study


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    folder = tmp_path_factory.mktemp("searched")
    config = TrainingConfig(data=write_patterns(folder / "my images"), epochs=2, **QUICK)
    space = {"learning_rate": Categorical(0.001, 0.02, 0.005)}
    tuning = TuningJob(config, space, strategy="grid", name="dogs", home=folder / "home")
    return Searched(folder, tuning.run(progress=False).study)


def check(page: str) -> None:
    """Its tags are balanced, and no id is used twice; it may fetch what the console itself has."""
    found = read_page(page)
    assert found.tags["script"] == 1
    own = (" is external: /", "the page runs a script")
    assert [problem for problem in found.problems if not any(word in problem for word in own)] == []


def page_of(folder: Path, name: str, **query: str) -> str:
    with running_console(folder) as running, running.client() as client:
        answer = client.get(f"/searches/{name}", params=query)
        assert answer.status_code == 200, answer.text
        check(answer.text)
        return answer.text


def test_the_best_trial_comes_first_with_its_verdict(searched: Searched) -> None:
    best, study = searched.study.best, searched.study
    assert best is not None
    others = ", ".join(str(trial.index + 1) for trial in study.trials if trial.name != best.name)
    page = page_of(searched.folder, "dogs")
    text = read_page(page).text
    assert text.index("Verdict") < text.index("Progress") < text.index("Trials, best valid_loss first")
    assert f"learning_rate {best.hyperparameters['learning_rate']}" in text
    assert f"Level with 2 of the other 2 trials ({others}), whose accuracy isn't significantly worse" in text
    assert "(best)" in text
    rows = re.findall(r'<th scope="row">(?:<strong>)?(\d+)', page.partition("<caption>Trials, best")[2])
    order = sorted(study.trials, key=lambda trial: trial.objective or 0.0)
    assert rows[:3] == [str(each.index + 1) for each in order]
    for chart in ("valid_loss of each training job", "valid_loss by epoch", "Hyperparameters and outcome"):
        assert chart in text
    assert "Trials as they started" in page_of(searched.folder, "dogs", order="started")


def test_the_command_shown_trains_the_best_trial_alone(
    searched: Searched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = searched.study.best
    assert best is not None
    line = train_command(searched.study, best)
    assert line is not None and line in read_page(page_of(searched.folder, "dogs")).text
    words = shlex.split(line)
    assert words[0] == "breedclf"
    assert main([*words[1:], "--output", str(tmp_path / "alone"), "--json", "--quiet"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["history"][document["best_epoch"] - 1]["valid_loss"] == pytest.approx(best.objective, rel=1e-5)


def test_the_python_shown_has_the_settings_of_the_best_trial(searched: Searched) -> None:
    best, names = searched.study.best, dict[str, Any]()
    assert best is not None
    exec(train_python(searched.study, best).partition("result = ")[0], names)
    assert names["config"] == searched.study.request.config_of(best)


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        ("No training job has completed", {"objectives": (None, None), "status": "Failed", "reason": "all failed"}),
        ("The search is still running", {"objectives": (), "status": "InProgress"}),
        ("best valid_loss", {"objectives": (0.5,)}),
        ("Too few training jobs", {"objectives": (0.5, 0.5, 0.5, 0.5, 0.5)}),
        ("Main effect of each hyperparameter", {"objectives": (0.5, 0.25, 0.3, 0.1, 0.9)}),
        ("cosine", {"space": {"schedule": Categorical("cosine", "constant")}, "values": {"schedule": "cosine"}}),
        ("hours of work", {"reason": "hours of work", "status": "Stopped"}),
    ],
    ids=["all-failed", "none-yet", "one", "equal", "several", "choices", "stopped"],
)
def test_a_search_in_any_state_is_a_page(tmp_path: Path, expected: str, changes: dict[str, Any]) -> None:
    plant(tmp_path / "home", "dogs", **changes)
    assert expected in read_page(page_of(tmp_path, "dogs")).text


def test_trials_that_are_jobs_lead_to_their_pages(tmp_path: Path) -> None:
    plant(tmp_path / "home", "dogs", backend="local")
    plant(tmp_path / "home", "alone")
    assert 'href="/jobs/dogs-002"' in page_of(tmp_path, "dogs")
    assert 'href="/jobs/' not in page_of(tmp_path, "alone")


def test_text_from_outside_is_never_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\x1b[2J"
    plant(
        tmp_path / "home",
        "dogs",
        (None, 0.5),
        reason=evil,
        space={"schedule": Categorical("cosine", "constant")},
        values={"schedule": evil},
    )
    plant(tmp_path / "home", "<b>bad").file.write_text("{")
    for name in ("dogs", "<b>bad", ""):
        page = page_of(tmp_path, name).lower() if name else list_of(tmp_path)
        assert "<script>alert" not in page
        assert "<b>bad" not in page


def list_of(folder: Path, **query: str) -> str:
    with running_console(folder) as running, running.client() as client:
        page = client.get("/searches", params=query).text
    check(page)
    return page


def test_the_list_is_searched_and_damage_hides_nothing(tmp_path: Path) -> None:
    assert "No searches yet" in list_of(tmp_path)
    plant(tmp_path / "home", "good")
    plant(tmp_path / "home", "bad").file.write_text("{")
    plant(tmp_path / "runs" / "journey", "journey-1")
    text = read_page(list_of(tmp_path)).text
    assert "3 of 3 searches" in text
    assert "Damaged" in text
    assert "3 of 10" in text
    assert 'href="/journeys/runs.journey"' in list_of(tmp_path)
    assert 'href="/searches/good"' not in list_of(tmp_path, words="journey")
    assert 'href="/searches/bad"' not in list_of(tmp_path, status="Completed")
    assert "can't be read" in read_page(page_of(tmp_path, "bad")).text
    with running_console(tmp_path) as running, running.client() as client:
        assert client.get("/searches/nothing").status_code == 404
        assert [each["name"] for each in client.get("/api/tunings").json()] == ["bad", "good", "journey-1"]


def test_an_interrupted_search_says_how_to_continue(tmp_path: Path) -> None:
    plant(tmp_path / "home", "dogs", status="InProgress")
    page = read_page(page_of(tmp_path, "dogs")).text
    assert "No process drives this search" in page
    assert f"env BREEDCLF_HOME={tmp_path / 'home'} breedclf tune --resume dogs" in page


def test_nothing_can_be_stopped_in_a_console_for_reading(tmp_path: Path) -> None:
    folder = plant(tmp_path / "home", "dogs", status="InProgress")
    with running_console(tmp_path, read_only=True) as running, running.client() as client:
        assert "data-action" not in client.get("/searches/dogs").text
        assert client.post("/api/actions/stop-search", json={"name": "dogs"}).status_code == 403
    assert not folder.stop_file.exists()


def test_a_trial_appears_without_a_reload_and_the_search_is_stopped(tmp_path: Path, chromium: Browser) -> None:
    folder = plant(tmp_path / "home", "dogs", status="InProgress", space=SPACE)
    chromium.messages.clear()
    with running_console(tmp_path) as running:
        with folder.locked():
            chromium.open(running.page("/searches/dogs"))
            chromium.until("document.getElementById('connection').textContent === 'live'")
            assert "InProgress" in chromium.run("document.getElementById('state').textContent")
            add_trial(folder, 0.0625)
            for part in ("verdict", "trials", "history"):
                chromium.until(f"document.getElementById('{part}').textContent.includes('0.062')", seconds=30)
        chromium.until("document.getElementById('state').textContent.includes('No process drives')", seconds=30)
        chromium.run("document.querySelector('button[data-action=stop-search]').click()")
        chromium.until("document.getElementById('question').open")
        assert "tune --stop dogs" in chromium.run("document.getElementById('question-command').textContent")
        chromium.run("document.querySelector('#question .danger').click()")
        chromium.until("document.getElementById('message').textContent === 'stopped dogs'", seconds=30)
        chromium.until("document.getElementById('state').textContent.includes('Stopped')", seconds=30)
    assert folder.load().status == "Stopped"
    assert [line for line in chromium.messages if not line.startswith("asked ")] == []
