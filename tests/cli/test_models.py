"""`breedclf models` as its users meet it: what is printed, as text and as JSON, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from breedclf import ModelStore
from breedclf.cli import main
from tests.model_store.stored import write_model


@pytest.fixture(autouse=True)
def _two_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path / "home"))
    for number, epochs in (("1", 2), ("2", 3)):
        write_model(Path("runs") / number / "model", number.encode(), training={"epochs": epochs, "seed": 0})


@pytest.fixture
def two_versions() -> ModelStore:
    """Version 2 of dogs is live, version 1 is previous."""
    store = ModelStore("runs/models")
    for number in ("1", "2"):
        store.promote("dogs", store.add(f"runs/{number}/model", name="dogs").version)
    return store


def run(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a command prints, on stderr if it fails."""
    assert main(["models", *words]) == code
    found = capsys.readouterr()
    assert bool(found.err) == bool(code)
    return found.err if code else found.out


def document(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(capsys, *words, "--json"))
    return found


@pytest.mark.parametrize(
    "words",
    [
        ["dogs", "runs/1/model"],
        ["dogs", "runs/1"],
        ["runs/1/model", "dogs"],
        ["runs/1/model", "--name", "dogs"],
        ["--name", "dogs", "runs/1"],
    ],
    ids=" ".join,
)
def test_a_name_and_a_model_in_any_order(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "add", *words, "--notes", "first try")
    assert "is version 1 of dogs\nnext: breedclf models promote dogs 1\n" in out
    assert "is already version 1 of dogs" in run(capsys, "add", *words)
    assert ModelStore().record("dogs").version(1).notes == "first try"


def test_a_name_that_is_a_model_directory_too(capsys: pytest.CaptureFixture[str]) -> None:
    write_model(Path("dogs"), b"other")
    assert document(capsys, "add", "dogs", "runs/1")["source"] == "runs/1/model"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["add", "runs/1"], 2, "give a name and a model directory, as in `models add dogs runs/dogs/model`"),
        (["add", "a", "runs/1", "--name", "b"], 2, "models add got 'a runs/1' and --name b: give a name and"),
        (["add", "dogs", "runs/9"], 3, "runs/9 is not a breedclf model: it has no breedclf.json"),
        (["add", "a/b", "runs/1"], 2, "name 'a/b': use at most 64 letters, digits and, between them, hyphens"),
        (["show", "cats"], 2, "store runs/models has no model 'cats'; there are: dogs"),
        (["show", "dogs", "7"], 2, "model 'dogs' has no version '7'; there are: 1, 2, live (2), previous (1)"),
        (["show", "dogs", "--against", "1"], 2, "--against compares two versions: name both"),
        (["list", "cats"], 2, "has no model 'cats'"),
        (["promote", "dogs", "best"], 2, "has no version 'best'"),
        (
            ["promote", "dogs", "1", "--max-megabytes", "1e-9"],
            1,
            "size: 0.0 MB, at most 1e-09 MB; version 2 stays live",
        ),
        (["promote", "dogs", "1", "--max-drop", "2"], 2, "max_drop"),
        (["promote", "dogs", "1", "--baseline", "0.9"], 2, "was added without an evaluation; give the images"),
        (["promote", "dogs", "1", "--endpoint", "gone"], 4, "there is no endpoint 'gone'"),
        (["promote", "dogs", "1", "--endpoint", "x", "--no-endpoint"], 2, "exclude each other"),
        (["remove", "dogs", "2"], 2, "version 2 of 'dogs' is live: promote another version first"),
        (["remove", "dogs", "previous"], 2, "version 1 of 'dogs' is previous"),
        (["alias", "dogs", "live", "1"], 2, "promote and rollback move live and previous"),
        (["alias", "dogs", "best"], 2, "give the version that the alias names, or --delete"),
        (["list", "--store", "runs/1/model/breedclf.json/x", "dogs"], 2, "has no model 'dogs'"),
        (["add", "dogs", "runs/1", "--store", "runs/1/model/breedclf.json"], 4, "can't be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
@pytest.mark.usefixtures("two_versions")
def test_what_is_refused(words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("runs/models/models/dogs.json").read_bytes()
    assert message in run(capsys, *words, code=code)
    assert Path("runs/models/models/dogs.json").read_bytes() == before


def test_an_endpoint_that_is_gone(two_versions: ModelStore, capsys: pytest.CaptureFixture[str]) -> None:
    two_versions.serve_with("dogs", "dogs-live", "local")
    error = run(capsys, "rollback", "dogs", code=4)
    assert "endpoint 'dogs-live' of model 'dogs' on the backend local is gone, and version 2 stays live" in error
    assert "--name dogs-live) and repeat this, or move only the alias with --no-endpoint" in error
    assert "version 1 is live; version 2 is previous\n" in run(capsys, "rollback", "dogs", "--no-endpoint")


def test_the_table_of_versions(two_versions: ModelStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no models in empty; `breedclf models add NAME MODEL --store empty` adds one" in run(
        capsys, "list", "--store", "empty"
    )
    two_versions.alias("dogs", "best", 1)
    head, second, first = run(capsys, "list").splitlines()
    assert head.split()[:4] == ["NAME", "VERSION", "ALIASES", "ARCHITECTURE"]
    assert second.split()[:5] == ["dogs", "2", "live", "resnet18", "–"]
    assert first.split()[:5] == ["dogs", "1", "best,", "previous", "resnet18"]
    found = document(capsys, "list")["models"]
    assert [(each["name"], each["aliases"]) for each in found] == [("dogs", {"live": 2, "previous": 1, "best": 1})]
    assert [(each["version"], each["aliases"]) for each in found[0]["versions"]] == [
        (2, ["live"]),
        (1, ["best", "previous"]),
    ]


@pytest.mark.usefixtures("two_versions")
def test_a_model_and_a_version(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "show", "dogs")
    assert out.startswith("dogs: version 2 is live; version 1 is previous\n")
    assert [line.split("  ")[2] for line in out.splitlines() if line.startswith("  ")] == [
        "previous: none -> 1",
        "live: 1 -> 2",
        "live: none -> 1",
    ]
    out = run(capsys, "show", "dogs", "live", "--against", "previous")
    assert "\nsettings that differ from version 1:\n  epochs: 2 -> 3\n" in out
    found = document(capsys, "show", "dogs", "2", "--against", "1")
    assert found["against"] == {"version": 1, "changes": {"epochs": [2, 3]}}
    assert found["lineage"]["config"] == {"epochs": 3, "seed": 0}
    assert Path(found["directory"], "model.safetensors").read_bytes() == b"2"


@pytest.mark.usefixtures("two_versions")
def test_changes_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "promote", "dogs", "1", "--max-megabytes", "1", "--reason", "was better")
    assert (found["live"], found["previous"], [check["passed"] for check in found["checks"]]) == (1, 2, [True])
    assert document(capsys, "rollback", "dogs")["live"] == 2
    assert document(capsys, "alias", "dogs", "best", "2") == {"name": "dogs", "alias": "best", "version": 2}
    assert document(capsys, "alias", "dogs", "best", "--delete")["version"] is None
    add = document(capsys, "add", "cats", "runs/2")
    assert (add["name"], add["version"]) == ("cats", 1)
    assert document(capsys, "remove", "cats", "1")["version"] == 1
    assert document(capsys, "gc") == {"removed": []}, "dogs uses the same files"
    assert "was better" in run(capsys, "show", "dogs")
