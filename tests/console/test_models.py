"""The pages of models: promoted, rolled back, named and compared by buttons, as the command line does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from breedclf import ModelStore
from breedclf.console.tasks import find_task
from breedclf.testing.pages import read_page
from tests.browser import Browser
from tests.console.running import Running, running_console
from tests.console.test_tasks import until
from tests.model_store.stored import check_whole, write_model


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """Versions 1 and 2 of `dogs`; version 1 is live. Version 3 is worse than its most frequent class."""
    store = ModelStore(tmp_path / "models")
    for number in (1, 2, 3):
        model = write_model(tmp_path / f"run-{number}/model", str(number).encode(), training={"epochs": number})
        store.add(model, name="dogs", notes="<script>alert(1)</script>" if number == 2 else "")
    store.promote("dogs", 1)
    return store


def act(running: Running, action: str, **fields: str) -> tuple[int, str]:
    with running.client() as client:
        answer = client.post(f"/api/actions/{action}", json=fields)
    return answer.status_code, next(iter(answer.json().values()))


def answer(chromium: Browser, value: str) -> None:
    """Answer the dialog, and wait until the page knows."""
    chromium.run(
        "new Promise((done) => {"
        " const dialog = document.getElementById('question');"
        " dialog.addEventListener('close', () => done(true), { once: true });"
        f" dialog.querySelector('button[value={value}]').click(); }})"
    )


def all_ended(running: Running) -> bool:
    tasks = running.console.overview("").tasks().value or ()
    return bool(tasks) and not any(task.is_active for task in tasks)


def test_models_versions_and_lists_are_shown_and_markup_is_text(tmp_path: Path, store: ModelStore) -> None:
    (store.path / "models" / "broken.json").write_text("{")
    store.alias("dogs", "best", 2)
    with running_console(tmp_path) as running, running.client() as client:
        models = read_page(client.get("/models").text).text
        assert "broken.json can't be read" in models
        assert "version 1" in models
        page = client.get("/models/dogs").text
        assert "<script>alert" not in page
        assert "best" in read_page(page).text
        assert "breedclf models promote dogs 2 --store" in client.get("/models/dogs/2").text
        assert "Make it live" not in client.get("/models/dogs/1").text
        assert "can't be read" in read_page(client.get("/models/broken").text).text
        wrong = (
            "/models/birds",
            "/models/..%2f..",
            "/models/dogs/99",
            "/models/dogs/x",
            "/models/dogs?a=1&b=" + "9" * 5000,
        )
        assert [client.get(path).status_code for path in wrong] == [404] * len(wrong)
        differing = read_page(client.get("/models/dogs?a=1&b=3").text).text
        assert "epochs" in differing
        listed = client.get("/api/models").json()
    assert [each["name"] for each in listed] == ["broken", "dogs"]
    assert [each["version"] for each in listed[1]["versions"]] == [3, 2, 1]


def test_actions_refuse_what_the_store_refuses(tmp_path: Path, store: ModelStore) -> None:
    with running_console(tmp_path) as running:
        assert act(running, "promote-model", name="dogs", version="9")[0] == 409
        assert act(running, "promote-model", name="../x", version="1")[0] == 409
        assert act(running, "promote-model", name="dogs")[0] == 409
        assert act(running, "promote-model", name="dogs", version="2", data="../../etc") == (
            409,
            "no dataset ../../etc: nothing names it any more; `breedclf console --data DIR` adds one",
        )
        assert act(running, "alias-model", name="dogs", alias="live", version="2")[0] == 409
        assert act(running, "alias-model", name="dogs", alias="best", version="2")[0] == 200
        assert store.record("dogs").aliases["best"] == 2
        assert act(running, "alias-model", name="dogs", alias="best", version="")[0] == 200
        assert act(running, "stop-task", task="../../x")[0] == 409
    with running_console(tmp_path, read_only=True) as running:
        assert act(running, "promote-model", name="dogs", version="2")[0] == 403
        with running.client() as client:
            page = client.get("/models/dogs/2").text
    assert "breedclf models promote dogs 2" in page
    assert "data-action" not in page


def test_what_the_gate_refuses_is_shown_as_the_command_says_it(tmp_path: Path, store: ModelStore) -> None:
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    metrics = {"split": "test", "accuracy": 0.5, "accuracy_interval": [0.4, 0.6], "count": 100, "majority_share": 0.55}
    (evaluation / "metrics.json").write_text(json.dumps(metrics))
    store.add(tmp_path / "run-3/model", name="dogs", evaluation=str(evaluation))
    with running_console(tmp_path) as running, running.client() as client:
        assert act(running, "promote-model", name="dogs", version="3")[0] == 200
        until(lambda: all_ended(running))
        text = read_page(client.get("/models/dogs/3").text).text
        assert "the gate refuses version 3 of 'dogs': accuracy: 50.0%" in text
        assert "version 1 stays live" in text
    assert store.record("dogs").live == 1
    check_whole(store.path)


def test_a_version_is_promoted_and_rolled_back_in_a_browser(
    tmp_path: Path, store: ModelStore, chromium: Browser
) -> None:
    chromium.messages.clear()
    with running_console(tmp_path) as running:
        chromium.open(running.page("/models/dogs/2"))
        chromium.until("document.getElementById('connection').textContent === 'live'")
        chromium.run("document.querySelector('[data-action=promote-model]').click()")
        assert "in place of version 1" in chromium.run("document.getElementById('question-text').textContent")
        command = chromium.run("document.getElementById('question-command').textContent")
        assert command.startswith("breedclf models promote dogs 2 --store")
        answer(chromium, "no")
        assert store.record("dogs").live == 1
        chromium.run("document.querySelector('[data-action=promote-model]').click()")
        answer(chromium, "yes")
        chromium.until("document.getElementById('tasks')?.textContent.includes('Version 2 is live')")
        chromium.run("document.querySelector('input[name=alias]').value = 'best'")
        chromium.run("document.querySelector('#alias button').click()")
        chromium.until("document.getElementById('state').textContent.includes('best')")
        chromium.open(running.page("/models/dogs"))
        chromium.run("document.querySelector('[data-action=roll-back-model]').click()")
        answer(chromium, "yes")
        chromium.until("document.getElementById('tasks').textContent.includes('Version 1 is live')")
        chromium.until("document.getElementById('history').textContent.includes('rollback')")
        name = (running.console.overview("").tasks().value or ())[0].name
        home = running.console.overview("").places.home
    assert find_task(home, name).command[:4] == ("breedclf", "models", "rollback", "dogs")
    assert [line for line in chromium.messages if not line.startswith("asked ")] == []
    record = store.record("dogs")
    assert (record.live, record.aliases["previous"], record.aliases["best"]) == (1, 2, 2)
