"""What steps hand over to the page besides their own values: images to show, learning curves, where time went."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from breedclf.errors import BreedclfError

if TYPE_CHECKING:
    from breedclf.api.endpoint import Endpoint
    from breedclf.api.profiling import ProfilingSession
    from breedclf.config import TrainingConfig
    from breedclf.label_review.result import Review

Model = TypeVar("Model", bound=BaseModel)

MOST_EXAMPLES = 12
_MOST_SUSPECTS = 6
_EXPLANATION_PX = 240


class _Frozen(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="ignore")


class ExampleImage(_Frozen):
    """A training image and its class as shown to people."""

    path: str
    class_name: str


class Epoch(_Frozen):
    """One epoch of the best run; None for a value that isn't finite."""

    train_loss: float | None = None
    valid_loss: float | None = None
    valid_accuracy: float | None = None


class SeedTrial(_Frozen):
    """A trial that was run with other seeds: the mean and standard deviation of its objective, and whether its
    difference from the best trial may be chance.
    """

    name: str
    mean: float | None = None
    spread: float | None = None
    p_value: float | None = None
    is_level: bool = False


class Issue(_Frozen):
    """An issue that a rule of the profiler found."""

    rule: str
    evidence: str
    advice: str = ""


class TriedChange(_Frozen):
    """Advice that was tried: median seconds before and after; `after` is 0 if it couldn't be run."""

    name: str
    before: float
    after: float
    speedup: float
    kept: bool


class ProfileFigures(_Frozen):
    """Where the time of the profiled run went, in seconds, and what was found and tried."""

    time: tuple[tuple[str, float], ...] = ()
    issues: tuple[Issue, ...] = ()
    tried: tuple[TriedChange, ...] = ()
    sentence: str = ""


class SuspectImage(_Frozen):
    """An image whose label may be wrong, with the probability of that, from 0 to 1."""

    path: str
    given: str
    proposed: str
    probability_wrong: float


class ExplainedImage(_Frozen):
    """Where a map over an image is, relative to the journey's folder, and which class it explains."""

    file: str
    class_name: str
    method: str
    exact: bool


def example_images(training: TrainingConfig) -> list[dict[str, Any]]:
    """Training images, as many of each class; at most 12, of the first classes."""
    from breedclf.data.training_data import training_images

    dataset = training_images(training)
    split = dataset.split("train")
    rows = list[list[int]]([] for _ in dataset.labels)
    for index, target in enumerate(split.targets):
        rows[target].append(index)
    shown = [number for number, row in enumerate(rows) if row][:MOST_EXAMPLES]
    each = max(1, MOST_EXAMPLES // max(1, len(shown)))
    return [
        ExampleImage(
            path=split.images.name(rows[number][at * len(rows[number]) // min(each, len(rows[number]))]),
            class_name=dataset.class_names[number],
        ).model_dump()
        for number in shown
        for at in range(min(each, len(rows[number])))
    ]


def epochs_of(run: Path) -> list[dict[str, Any]]:
    """The epochs of a training run in a folder; empty if it isn't there, as for a job elsewhere."""
    from breedclf.training.results.result import FitResult

    try:
        history = FitResult.load(run).history
    except (BreedclfError, OSError):
        return []
    return [Epoch.model_validate(epoch.to_dict()).model_dump() for epoch in history]


def profile_figures(session: ProfilingSession) -> dict[str, Any]:
    """The figures of a session that has run."""
    from breedclf.profiling.report.page import SUMMARY_RULE
    from breedclf.profiling.report.time_sections import time_of_job

    verified = session.verification
    issues = [each for each in session.findings if each.status == "issue" and each.rule != SUMMARY_RULE]
    return ProfileFigures(
        time=tuple((name, value) for name, value in time_of_job(session.profile).items() if value > 0),
        issues=tuple(Issue(rule=each.rule, evidence=each.evidence, advice=each.advice) for each in issues),
        tried=tuple(TriedChange.model_validate(trial.model_dump()) for trial in (verified.trials if verified else ())),
        sentence=verified.sentence if verified else "",
    ).model_dump()


def suspect_images(review: Review) -> list[dict[str, Any]]:
    """The first suspects of a review."""
    from breedclf.data.class_names import display_names

    images, labels = review.images.split.images, tuple(review.images.labels)
    shown = dict(zip(labels, display_names(labels), strict=True))
    return [
        SuspectImage(
            path=images.name(each.row),
            given=shown.get(each.given, each.given),
            proposed=shown.get(each.proposed, each.proposed),
            probability_wrong=each.probability_wrong,
        ).model_dump()
        for each in review.suspects[:_MOST_SUSPECTS]
    ]


def save_explanation(endpoint: Endpoint, image: Path, folder: Path, file: str) -> dict[str, Any] | None:
    """Ask an endpoint why it answers as it does, and save the map as a JPEG; None if the model can't explain.

    Raises:
        OSError: the disk refuses.
    """
    from breedclf.files.disk import write_atomic

    try:
        found = endpoint.predict(image, explain=True).explanation
    except BreedclfError:  # the answer itself is there; an engine or a network may have no maps
        return None
    shown, encoded = found.image().convert("RGB"), BytesIO()
    shown.thumbnail((_EXPLANATION_PX, _EXPLANATION_PX))
    shown.save(encoded, "JPEG", quality=80, optimize=True)
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / file, encoded.getvalue())
    return ExplainedImage(file=file, class_name=found.class_name, method=found.method, exact=found.exact).model_dump()


def parsed(kind: type[Model], values: object) -> list[Model]:
    """The values of a list that are of a kind; values of another version are left out."""
    found = list[Model]()
    for value in values if isinstance(values, Sequence) and not isinstance(values, str) else ():
        try:
            found.append(kind.model_validate(value))
        except ValueError:
            continue
    return found
