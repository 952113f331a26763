"""Promotions to a real endpoint of this machine: no request fails, and a kill leaves endpoint and aliases together."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from breedclf import Classifier, Deployment, LocalBackend, ModelStore
from breedclf.errors import BreedclfError, EndpointError
from breedclf.inference.model_directory import read_artifact, write_artifact
from breedclf.inference.prediction import Prediction
from tests.serving.conftest import draw, encode, write_tiny_model
from tests.waiting import until

JPEG = encode(draw(3))


def same(one: Prediction, other: Prediction) -> bool:
    first, second = ({each.label: each.probability for each in found.ranked} for found in (one, other))
    return first == pytest.approx(second, abs=1e-4)


@pytest.mark.slow
def test_promote_and_roll_back_under_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path / "home"))
    store = ModelStore(tmp_path / "store")
    for seed in range(2):
        store.add(write_tiny_model(tmp_path / str(seed), seed=seed), name="dogs")
    expected = [Classifier(store.model_directory("dogs", number)).predict(JPEG) for number in (1, 2)]
    assert not same(*expected)
    stop, failures = threading.Event(), []
    answers: list[int | None] = []

    with Deployment(store.model_directory("dogs", 1), LocalBackend(), name="dogs-live").deploy() as endpoint:

        def ask() -> None:
            while not stop.wait(0.02):
                try:
                    answer = endpoint.predict(JPEG)
                    answers.append(next((n for n, each in enumerate(expected, 1) if same(answer, each)), None))
                except BreedclfError as error:
                    failures.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            store.promote("dogs", 1, alias_only=True)
            store.promote("dogs", 2, endpoint=endpoint)
            count = len(answers)
            until(lambda: len(answers) > count + 3)
            assert answers[-1] == 2
            assert store.rollback("dogs").version == 1  # of the endpoint on record
            count = len(answers)
            until(lambda: len(answers) > count + 3)
            assert answers[-1] == 1

            store.add(unservable(tmp_path / "broken"), name="dogs")
            with pytest.raises(EndpointError, match="version 3 of 'dogs': .*rolled back: .*; version 1 stays live"):
                store.promote("dogs", 3)
            assert (store.record("dogs").live, store.record("dogs").promoting) == (1, None)
        finally:
            stop.set()
            thread.join()
        assert not failures
        assert {*answers} == {1, 2}


def unservable(folder: Path) -> Path:
    """A model whose card and weights agree, but whose weights are not finite, so that no answer can be compared."""
    write_tiny_model(folder)
    card, state = read_artifact(folder)
    state = {name: value * float("nan") if name.endswith("fc.weight") else value for name, value in state.items()}
    values = card.model_dump(exclude={"weights_sha256", "feature_bank"})
    shutil.rmtree(folder)
    write_artifact(folder, values, state)
    return folder


@pytest.mark.slow
def test_a_promotion_that_is_killed_while_the_endpoint_is_updated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BREEDCLF_HOME", str(tmp_path / "home"))
    store = ModelStore(tmp_path / "store")
    for seed in range(3):
        store.add(write_tiny_model(tmp_path / str(seed), seed=seed), name="dogs")
    with Deployment(store.model_directory("dogs", 1), LocalBackend(), name="dogs-live").deploy() as endpoint:
        store.promote("dogs", 1, alias_only=True)
        store.serve_with("dogs", "dogs-live", "local")
        command = [sys.executable, "-m", "breedclf", "models", "promote", "dogs", "2", "--store", str(store.path)]
        with subprocess.Popen(command) as process:
            until(lambda: store.record("dogs").promoting is not None)
            until(lambda: endpoint.status == "Updating")
            os.kill(process.pid, signal.SIGKILL)
        assert store.record("dogs").live == 1
        store.promote("dogs", 3)  # waits for the update that goes on, and notes it
        record = store.record("dogs")
        assert (record.live, record.aliases["previous"], record.promoting) == (3, 2, None)
        assert same(endpoint.predict(JPEG), Classifier(store.model_directory("dogs")).predict(JPEG))
