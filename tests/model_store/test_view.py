"""What notebooks show of a store and of a model in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from breedclf import ModelStore
from tests.model_store.stored import write_model
from tests.reporting.test_notebook import NASTY, check


def test_a_store_and_its_models(store: ModelStore, model: Callable[..., Path]) -> None:
    assert "No models." in check(store._repr_html_())
    for content in (b"1", b"2"):
        store.promote("dogs", store.add(model(content), name="dogs", notes=NASTY).version)
    store.serve_with("dogs", "dogs-live", "local")
    html = check(store._repr_html_())
    assert "version 2 is live; version 1 is previous; endpoint dogs-live on local serves version 2" in html
    record = store.record("dogs")
    html = check(record._repr_html_())
    assert "live: 1 -&gt; 2" in html
    assert html.index(">2<") < html.index(">1<"), "the newest first"
    assert repr(record) == "ModelRecord('dogs', 2 versions, live: 2)"


def test_a_damaged_record_hides_no_other(store: ModelStore, model: Callable[..., Path]) -> None:
    for name in ("cats", "dogs"):
        store.add(model(), name=name)
    (store.path / "models" / "cats.json").write_text("{")
    html = check(store._repr_html_())
    assert "cats.json can&#39;t be read" in html
    assert "no version is live" in html


def test_no_store_at_all(tmp_path: Path) -> None:
    write_model(tmp_path / "model")
    assert "No models." in check(ModelStore(tmp_path / "model")._repr_html_())
