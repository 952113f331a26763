"""The demo: the journey on synthetic images, or on one's own, and a check of its accuracy."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from breedclf.config import Architecture, Settings, TrainingConfig, weights_name
from breedclf.config.architectures import TIMM
from breedclf.config.base import MaybeOutputPath, MaybeUserPath, OutputPath
from breedclf.data.layout.disk import mark_output
from breedclf.errors import DemoError, GateError, WeightsError
from breedclf.inference.model_directory import read_card
from breedclf.journey.journey import Journey, Progress
from breedclf.journey.result import JourneyResult
from breedclf.journey.settings import SEED_GRID, JourneySettings
from breedclf.testing.images import write_image_set
from breedclf.tuning.space import Categorical, Parameter

log: logging.Logger = logging.getLogger(__name__)

CLASSES = 5
VALID_IMAGES = 8
TEST_IMAGES = 20
RANDOM_WEIGHTS_GRID: dict[str, Parameter] = {"learning_rate": Categorical(0.005, 0.01), "epochs": Categorical(10, 20)}
"""The search with random weights, which need more epochs than pretrained ones: four trials."""

VERIFY_SECONDS = 30.0
PRETRAINED = "IMAGENET1K_V1"
CONNECT_SECONDS = 5.0


def _weights(value: object) -> object:
    return None if value is None else weights_name(value)


class DemoConfig(Settings):
    """The settings of the demo; by default it draws its own images."""

    data: MaybeUserPath = Field(
        default=None, validate_default=True, description="image folder to use instead of synthetic images"
    )
    weights: Annotated[str | None, BeforeValidator(_weights)] = Field(
        default=None,
        description="IMAGENET1K_V1, none, or a file (default: IMAGENET1K_V1 if it can be downloaded, otherwise none)",
    )
    architecture: Architecture | None = Field(
        default=None, description="network to fine-tune (default: resnet50, or resnet18 with random weights)"
    )
    epochs: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="passes over the images (default: the better of 2 and 3, or of 10 and 20 with random weights)",
    )
    train_images: int = Field(default=40, ge=2, le=10_000, description="training images to draw per class")
    seed: int = Field(default=0, ge=0, lt=2**63, description="seed of the synthetic images and of the training run")
    download_seconds: float = Field(default=60, gt=0, description="how long to try to download pretrained weights")
    cache_dir: MaybeOutputPath = Field(
        default=None, validate_default=True, description="folder of the feature cache (default: the platform's)"
    )
    output: OutputPath = Field(
        default=Path("runs/demo"), validate_default=True, description="folder for images, models and reports"
    )
    verify: bool = Field(default=True, description="measure whether the profiler's advice helps")
    keep: bool = Field(default=False, description="keep the endpoint in service at the end")


@dataclass(frozen=True)
class DemoResult:
    """The result of the demo; shares are from 0 to 1.

    `shown` is one test image: its path, its true class and the ranked predictions of the endpoint. `report` is about
    the evaluation, `page` about the whole journey, whose steps are in `steps` as in `breedclf journey --json`.
    `endpoint` is the name and the URL of the endpoint, and whether it is still in service.
    """

    accuracy: float
    accuracy_interval: tuple[float, float]
    required_accuracy: float
    classes: int
    count: int
    architecture: str
    weights: str
    epochs: int
    data: str
    artifact: str
    report: str
    page: str
    shown: dict[str, Any]
    endpoint: dict[str, Any]
    steps: list[dict[str, Any]]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The fields of `breedclf demo --json`."""
        return asdict(self)


def required_accuracy(classes: int) -> float:
    """The minimum test accuracy (0 to 1): three times chance, or halfway between chance and 1 for two or three classes.

    Example:
        >>> [round(required_accuracy(classes), 3) for classes in (2, 3, 4, 5, 133)]
        [0.75, 0.667, 0.75, 0.6, 0.023]
    """
    return 3 / classes if classes > 3 else (1 + 1 / classes) / 2


def run_demo(config: DemoConfig, *, progress: Progress | None = None) -> DemoResult:
    """Take the journey: search hyperparameters, profile, evaluate, review, deploy, predict test images, clean up.

    A second run with the same settings takes only the steps whose results end with a run: deployment and predictions.

    Args:
        config: the settings.
        progress: called with the name of a step and a line about it; by default they are logged.

    Raises:
        DemoError: the test accuracy is below `required_accuracy`.
        DataError: the images of `config.data` can't be used.
        WeightsError: the weights file can't be used. If weights can't be downloaded, random ones are used.
        ConfigError: the output can't be written.
    """
    started = time.perf_counter()
    data = config.data or _drawn_images(config)
    settings = journey_settings(config, data)
    journey = Journey(settings)
    done = [step.name for step in journey.plan().steps if not step.runs]
    if done:
        log.info("done by an earlier run: %s", ", ".join(done))
    refusal: GateError | None = None
    try:
        journey.run(progress=progress)
    except GateError as error:
        refusal = error
    result = JourneyResult.load(config.output)
    found = {step.name: step.outcome.values for step in result.steps}
    measured, training = found["evaluate"], settings.training
    labels = read_card(result.model).labels
    required = required_accuracy(len(labels))
    if measured["accuracy"] < required:
        reached = f"test accuracy {measured['accuracy']:.1%} on {measured['count']} images"
        raise DemoError(_too_low(settings, f"{reached} is below the required {required:.1%}")) from refusal
    if refusal is not None:
        raise DemoError(_too_low(settings, str(refusal))) from refusal
    low, high = measured["accuracy_interval"]
    image = found["predict"]["images"][0]
    return DemoResult(
        accuracy=measured["accuracy"],
        accuracy_interval=(low, high),
        required_accuracy=required,
        classes=len(labels),
        count=measured["count"],
        architecture=training.architecture,
        weights=training.weights,
        epochs=result.best["epochs"],
        data=str(data),
        artifact=str(result.model),
        report=str(_evaluation_report(settings)),
        page=str(result.report),
        shown={name: image[name] for name in ("path", "label", "predictions")},
        endpoint={
            "name": found["deploy"]["endpoint"],
            "url": found["deploy"]["url"],
            "in_service": settings.keep,
        },
        steps=result.to_dict()["steps"],
        seconds=round(time.perf_counter() - started, 3),
    )


def _drawn_images(config: DemoConfig) -> Path:
    """The synthetic images below the output; reused if an earlier run completed them."""
    folder = config.output / f"images-{CLASSES}x{config.train_images}-seed-{config.seed}"
    if folder.is_dir():
        log.info("using the images in %s", folder)
        return folder
    mark_output(config.output)
    unfinished = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    write_image_set(
        unfinished,
        classes=CLASSES,
        train=config.train_images,
        valid=VALID_IMAGES,
        test=TEST_IMAGES,
        seed=config.seed,
    )
    unfinished.rename(folder)
    count = CLASSES * (config.train_images + VALID_IMAGES + TEST_IMAGES)
    log.info("drew %d images of %d patterns in %s", count, CLASSES, folder)
    return folder


def journey_settings(config: DemoConfig, data: Path) -> JourneySettings:
    """The settings of the demo's journey; pretrained weights are downloaded if none are given.

    Raises:
        ConfigError: the settings don't fit together.
    """
    weights = config.weights or _pretrained_or_none(config)
    random = weights.lower() == "none"
    training = TrainingConfig(
        data=data,
        weights=weights,
        architecture=config.architecture or ("resnet18" if random else "resnet50"),
        seed=config.seed,
        cache_dir=config.cache_dir,
        feature_bank=not random,  # random features don't show what is none of the classes
    )
    space = dict(RANDOM_WEIGHTS_GRID if random else SEED_GRID)
    if config.epochs is not None:
        space["epochs"] = Categorical(config.epochs)
    return JourneySettings(
        training=training,
        space=space,
        store=config.output / "models",
        name="" if config.data else "patterns",
        output=config.output,
        verify=config.verify,
        verify_seconds=VERIFY_SECONDS,
        keep=config.keep,
    )


def _pretrained_or_none(config: DemoConfig) -> str:
    from breedclf.models.backbones.published_weights import check_license
    from breedclf.models.published import pretrained_file

    architecture = config.architecture or "resnet50"
    weights = "pretrained" if architecture.startswith(TIMM) else PRETRAINED
    try:
        check_license(architecture, weights, accepted=False)
        pretrained_file(
            architecture,
            weights,
            timeout_seconds=min(CONNECT_SECONDS, config.download_seconds),
            total_seconds=config.download_seconds,
        )
    except WeightsError as error:
        log.warning("continuing with random weights: %s", error)
        return "none"
    return weights


def _evaluation_report(settings: JourneySettings) -> Path:
    return settings.output / "evaluation" / "report.html"


def _too_low(settings: JourneySettings, reason: str) -> str:
    weak = settings.training.weights == "none"
    advice = "random weights are weak; try --weights FILE" if weak else "check the labels"
    return f"the demo failed: {reason}; {advice}. See the confusion matrix in {_evaluation_report(settings)}"
