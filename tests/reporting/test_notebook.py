"""What notebooks show: escaped, self-contained, small, and never an exception."""

from __future__ import annotations

import base64
import re
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from breedclf import (
    Deployment,
    Endpoint,
    EndpointExplanation,
    EpochRecord,
    FitResult,
    InlineBackend,
    Job,
    Prediction,
    RankedClass,
    TrainingConfig,
)
from breedclf.errors import JobError
from breedclf.evaluation.metrics import measure
from breedclf.jobs import view
from breedclf.jobs.endpoints import EndpointDescription, EndpointStatus
from breedclf.jobs.status import JobDescription, JobStatus, SecondaryStatus
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.space import Categorical
from breedclf.tuning.study import Study
from breedclf.tuning.trials import Trial
from breedclf.tuning.view import study_view

NASTY = '<script>alert(1)</script> & "quoted"'
MAX_BYTES = 60_000


def check(html: str | None) -> str:
    """The HTML is one element without scripts, links, or anything that is loaded."""
    assert html is not None
    assert html.startswith('<div class="breedclf">') and html.rstrip().endswith("</div>")
    assert "<script" not in html and "javascript:" not in html
    assert not re.search(r"""(src|href)=["'](?!data:image/jpeg;base64,)""", html)
    assert "url(" not in html and "@import" not in html
    assert html.count("<div") == html.count("</div>")
    assert len(html.encode()) < MAX_BYTES
    return html


def description(name: str, **more: Any) -> JobDescription:
    return JobDescription(name, JobStatus.IN_PROGRESS, SecondaryStatus.TRAINING, created=0.0, **more)


class OneJob:
    """A backend with one job; counts how often it is described, and takes its time."""

    name = "slow"

    def __init__(self, seconds: float = 0.0, error: Exception | None = None) -> None:
        self.seconds, self.error, self.calls = seconds, error, 0

    def describe(self, name: str) -> JobDescription:
        self.calls += 1
        time.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return description(name, metrics={"valid_loss": 0.25}, failure_reason=NASTY, started=0.0, ended=75.0)


def history(count: int, worst: float = 1.0) -> list[EpochRecord]:
    return [EpochRecord(epoch, worst / epoch, worst / epoch, 0.9, 1234.5) for epoch in range(1, count + 1)]


@pytest.mark.parametrize("count", [1, 3, 500])
def test_a_training_run_shows_its_best_epoch_chart_and_last_epochs(count: int) -> None:
    result = FitResult(Path(f"out/{NASTY}"), Path("out"), history(count), count, float("nan"), ["a.jpg: broken"])
    html = check(result._repr_html_())
    assert f"{count} of {count}" in html
    assert ("<svg" in html) == (count > 1)
    assert html.count('<th scope="row"') == min(count, 12)
    assert "1 unreadable image" in html
    assert repr(result) == (
        f"FitResult('out', {count} epochs, best epoch {count}: valid loss {1 / count:.4f}, valid accuracy 90.0%)"
    )


def test_losses_that_are_no_numbers_are_shown() -> None:
    check(FitResult(Path("m"), Path("o"), history(2, float("nan")), 1, 1.0, [])._repr_html_())


def test_an_evaluation_shows_its_metrics_and_escapes_its_classes() -> None:
    rows = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
    evaluation = measure(rows, np.array([0, 1, 1]), [NASTY, "b"], ["1", "2", "3"], split="test")
    html = check(evaluation._repr_html_())
    assert "66.7%" in html and "95% interval" in html
    assert "&lt;script&gt;" in html
    assert repr(evaluation).startswith("Evaluation('test', accuracy 66.7% of 3 images")


def test_a_prediction_shows_its_image_and_the_best_classes(tmp_path: Path) -> None:
    ranked = tuple(RankedClass(f"{NASTY} {number}", "label", 0.5**number) for number in range(1, 9))
    photo = tmp_path / "big.png"
    Image.new("RGB", (3000, 2000), "red").save(photo)
    html = check(Prediction(ranked, image=photo)._repr_html_())
    assert html.count('class="share-bar"') == 5
    encoded = re.search(r'base64,([^"]+)"', html)
    assert encoded is not None
    with Image.open(BytesIO(base64.b64decode(encoded[1]))) as shown:
        assert shown.size == (240, 160)
    photo.write_bytes(b"replaced")
    assert "<img" not in check(Prediction(ranked, image=photo)._repr_html_())
    assert "none of these; the nearest are" in check(Prediction(ranked, known=False)._repr_html_())
    assert repr(Prediction(ranked[:1], known=False)) == f"Prediction({NASTY} 1 (50.0%), known=False)"
    check(ranked[0]._repr_html_())
    odd = RankedClass("a\ud800b", "x", float("nan"))
    check(Prediction((odd,))._repr_html_())


def test_an_image_of_no_class_shows_its_distance() -> None:
    ranked = (RankedClass("Beagle", "002.Beagle", 0.9),)
    html = check(Prediction(ranked, known=False, distance=0.61234)._repr_html_())
    assert "none of these; the nearest are" in html
    assert "distance to the training images: 0.612" in html
    assert "distance" not in check(Prediction(ranked)._repr_html_())


@pytest.mark.parametrize("exact", [True, False])
def test_an_explanation_shows_its_map_and_its_score(exact: bool) -> None:
    file = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (518, 518, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    explanation = EndpointExplanation(
        class_name=f"Beagle {NASTY}",
        label="002.Beagle",
        other="Harrier",
        method="class activation map",
        exact=exact,
        border_share=0.2,
        bias=-0.5,
        score=1.75,
        png=base64.b64encode(file.getvalue()).decode(),
        rows=((1.0, 1.25), (0.0, 0.0)),
    )
    html = check(explanation._repr_html_())
    assert "and not Harrier" in html
    assert "Difference of scores" in html and "1.75" in html
    assert ("an approximation" in html) != exact
    assert explanation.values.sum() + explanation.bias == explanation.score


def test_a_job_is_described_once() -> None:
    backend = OneJob()
    html = check(Job("dogs", backend)._repr_html_())  # type: ignore[arg-type]
    assert backend.calls == 1
    assert "Training" in html and "0.25" in html and "1 min 15 s" in html
    repr(Job("dogs", backend))  # type: ignore[arg-type]
    assert backend.calls == 1


@pytest.mark.parametrize("error", [JobError("no such job <b>"), RuntimeError("no network"), OSError()])
def test_a_job_that_cannot_be_described_says_why(error: Exception) -> None:
    html = check(Job("dogs", OneJob(error=error))._repr_html_())  # type: ignore[arg-type]
    assert "no such job &lt;b&gt;" in html or "can&#39;t be described" in html


def test_a_service_that_does_not_respond_holds_a_notebook_up_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "PATIENCE_SECONDS", 0.1)
    started = time.monotonic()
    html = check(Job("dogs", OneJob(seconds=2))._repr_html_())  # type: ignore[arg-type]
    assert time.monotonic() - started < 1.5
    assert "respond within 0.1 seconds" in html


class OneEndpoint(OneJob):
    """The same with one endpoint."""

    def describe_endpoint(self, name: str) -> EndpointDescription:
        self.describe(name)
        return EndpointDescription(name, EndpointStatus.IN_SERVICE, 0.0, url="http://127.0.0.1:1/?<b>", expires=60.0)


def test_an_endpoint_is_described_once() -> None:
    backend = OneEndpoint()
    html = check(Endpoint("dogs", backend)._repr_html_())  # type: ignore[arg-type]
    assert backend.calls == 1
    assert "InService" in html and "http://127.0.0.1:1/?&lt;b&gt;" in html and "1970-01-01 00:01:00 UTC" in html


def test_jobs_of_one_name_on_one_backend_are_equal(tmp_path: Path) -> None:
    backend = InlineBackend(tmp_path)
    assert Job("a", backend) == Job("a", backend)
    assert len({Job("a", backend), Job("a", backend), Job("b", backend)}) == 2
    assert Job("a", backend) != "a"


def test_a_deployment_and_a_broken_object_have_reprs(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, name="dogs", ttl_seconds=3600)
    assert "1 h" in check(deployment._repr_html_())
    assert repr(deployment) == f"Deployment({str(tmp_path)!r}, backend='local', name='dogs')"
    del deployment.spec
    assert deployment._repr_html_() is None, "without HTML a notebook shows the plain repr"


@pytest.mark.parametrize("count", [0, 1, 40])
def test_a_search_shows_its_best_trial_and_the_last_ones(count: int, tmp_path: Path) -> None:
    request = SearchRequest(
        name="dogs", config=TrainingConfig(data=tmp_path), space={"batch_size": Categorical(8, 16)}, max_jobs=50
    )
    trials = tuple(
        Trial(
            name=f"dogs-{number}", index=number, hyperparameters={"batch_size": 8}, status="Completed",
            objective=1 / (number + 1), started=0.0, ended=1.0,
        )
        for number in range(count)
    )  # fmt: skip
    html = check(study_view(Study(request=request, key="0" * 8, created=0.0, trials=trials)))
    assert html.count('<th scope="row"') == min(count, 12)
    assert ("No training job has completed" in html) == (count == 0)
