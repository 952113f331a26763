"""Views of stored models: damaged ones, links to where a version comes from, and what differs between two."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from breedclf import ModelStore
from breedclf.cli import main
from breedclf.errors import ArtifactError
from breedclf.model_store.comparison import compared
from breedclf.model_store.records import EndpointOfModel, ModelRecord
from breedclf.overview.comparisons import Comparisons, comparison_of
from breedclf.overview.models import Known, differences, endpoint_of, job_of, model_view, model_views, origins_of
from breedclf.text.plain_json import plain_json
from tests.model_store.stored import write_model


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """Versions 1 and 2 of `dogs`, and a model `cats`; version 2 comes from a trial of a search on a dataset."""
    store = ModelStore(tmp_path / "models")
    for content, epochs in ((b"1", 2), (b"2", 5)):
        source = write_model(tmp_path / f"home/jobs/dogs-{epochs}/output/model", content, training={"epochs": epochs})
        store.add(source, name="dogs", tuning_job="dogs", data="/data/dogs")
    store.add(write_model(tmp_path / "run/model", b"3"), name="cats")
    return store


def test_a_damaged_record_and_one_of_a_newer_version_hide_no_other(
    store: ModelStore, capsys: pytest.CaptureFixture[str]
) -> None:
    records = store.path / "models"
    (records / "broken.json").write_text("{")
    (records / "newer.json").write_text(json.dumps({"schema_version": 99}))
    (records / "a<b>.json").write_text("{}")
    views = {view.name: view for view in model_views(store)}
    assert [name for name, view in views.items() if view.record is None] == ["a<b>", "broken", "newer"]
    assert "upgrade breedclf" in views["newer"].to_dict()["problem"]
    with pytest.raises(ArtifactError, match="can't be read"):
        views["broken"].readable()
    assert main(["models", "list", "dogs", "--json", "--store", str(store.path)]) == 0
    assert json.loads(capsys.readouterr().out) == {"models": [views["dogs"].to_dict()]}
    assert model_views(ModelStore(store.path / "nothing")) == ()


def test_links_lead_to_what_is_there_alone(store: ModelStore) -> None:
    record = store.record("dogs")
    known = Known(jobs=["dogs-5"], searches=["dogs"], data={"/data/dogs": "dogs-123"})
    paths = {each.kind: each.path for each in origins_of(record.version(2), known)}
    assert paths == {"job": "/jobs/dogs-5", "search": "/searches/dogs", "data": "/data/dogs-123"}
    assert {each.path for each in origins_of(record.version(2), Known())} == {""}
    assert job_of("s3://bucket/jobs/") == ""
    assert job_of("jobs/x") == ""
    served = record.model_copy(update={"endpoint": EndpointOfModel(name="live", backend="local", version=2)})
    assert isinstance(served, ModelRecord)
    here, elsewhere = endpoint_of(served, "local"), endpoint_of(served, "sagemaker")
    assert here is not None
    assert elsewhere is not None
    assert (here.path, elsewhere.path) == ("/endpoints/live", "")
    assert endpoint_of(record, "local") is None


def test_what_differs(store: ModelStore) -> None:
    record = store.record("dogs")
    found = differences(record.version(1), record.version(2))
    assert found.settings == {"epochs": (2, 5)}
    assert found.metrics[0] == ("valid_accuracy", 0.75, 0.75)
    assert model_view(store, "birds").record is None


def test_a_comparison_is_read_as_it_was_written(tmp_path: Path) -> None:
    targets, first, second = (np.array(each) for each in ([0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 1, 0]))
    written = compared(("dogs 1", "dogs 2"), ["<b>", "x"], targets, first, second, lambda at: f"test/{at}.jpg", ["why"])
    values = json.loads(plain_json(written.to_dict()))
    for name, text in (("good", json.dumps(values)), ("damaged", "{"), ("other", json.dumps({"a": 1}))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "comparison.json").write_text(text)
    found = Comparisons(tmp_path).of("dogs", 2, 1, ())
    assert [each.comparison for each in found] == [written]
    assert [each.mended for each in found[0].comparison.flipped] == [True, False]
    assert "can't be distinguished" in found[0].comparison.verdict
    assert Comparisons(tmp_path).of("cats", 2, 1, ()) == []
    with pytest.raises(ValueError, match="at least one image"):
        comparison_of({**values, "count": 0})
