"""A version of the store is registered in the real MLflow, in a database of its own, and read back from there."""

from __future__ import annotations

from pathlib import Path

import pytest

from breedclf import Classifier, ConfigError, ModelStore, PublishError
from tests.serving.conftest import draw, write_tiny_model

mlflow = pytest.importorskip("mlflow")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default::Warning:sqlalchemy", "default::Warning:mlflow", "default::FutureWarning"),
]


def test_versions_aliases_and_lineage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a database without a server stores artifacts in the working directory
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    store = ModelStore(tmp_path / "store")
    models = [write_tiny_model(tmp_path / f"model-{seed}", seed=seed) for seed in (0, 1)]
    store.add(models[0], name="dogs", notes="the first", tuning_job="search-1")
    store.add(models[1], name="dogs")
    store.promote("dogs", 1)

    assert store.to_mlflow("dogs", tracking_uri=uri) == "1"
    found = client.get_model_version_by_alias("dogs", "live")
    assert (found.version, found.description) in [("1", "the first"), (1, "the first")]
    assert found.tags["breedclf.tuning_job"] == "search-1"
    assert found.tags["breedclf.digest"] == store.record("dogs").version(1).digest
    assert client.get_run(found.run_id).info.status == "FINISHED"

    store.alias("dogs", "v2", 2)  # a name that MLflow reserves
    store.promote("dogs", 2)
    assert store.to_mlflow("dogs", "live", tracking_uri=uri) == "2"
    assert store.to_mlflow("dogs", "previous", tracking_uri=uri) == "1", "it isn't uploaded again"
    aliases = client.get_registered_model("dogs").aliases
    assert {alias: str(version) for alias, version in aliases.items()} == {"live": "2", "previous": "1"}
    assert len(client.search_runs([client.get_experiment_by_name("breedclf").experiment_id])) == 2

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    folder = Path(mlflow.artifacts.download_artifacts("models:/dogs@live", dst_path=str(tmp_path / "back")))
    assert (folder / "README.md").read_text().startswith("---\n")
    assert Classifier(folder).predict(draw(3)) == Classifier(models[1]).predict(draw(3))


def test_refusals(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "store")
    store.add(write_tiny_model(tmp_path / "model"), name="dogs")
    with pytest.raises(ConfigError, match="model 'dogs' has no version 'live'"):
        store.to_mlflow("dogs", tracking_uri="sqlite:///unused.db")
    with pytest.raises(PublishError, match=r"'dogs' can't be registered in MLflow at http://127\.0\.0\.1:9: "):
        store.to_mlflow("dogs", 1, tracking_uri="http://127.0.0.1:9")
