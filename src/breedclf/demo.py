"""The demo: draw synthetic images, train, evaluate, predict, and check the accuracy."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from breedclf.api.trainer import Trainer
from breedclf.config import Architecture, Settings, TrainingConfig, weights_name
from breedclf.config.architectures import TIMM
from breedclf.config.base import MaybeOutputPath, MaybeUserPath, OutputPath
from breedclf.data.layout.disk import mark_output
from breedclf.errors import DemoError, WeightsError
from breedclf.testing.images import write_image_set

log: logging.Logger = logging.getLogger(__name__)

CLASSES = 5
VALID_IMAGES = 8
TEST_IMAGES = 20
RANDOM_WEIGHTS_EPOCHS = 20
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
        default=None, ge=1, le=10_000, description="passes over the images (default: 3, or 20 with random weights)"
    )
    train_images: int = Field(default=40, ge=2, le=10_000, description="training images to draw per class")
    seed: int = Field(default=0, ge=0, lt=2**63, description="seed of the synthetic images and of the training run")
    download_seconds: float = Field(default=60, gt=0, description="how long to try to download pretrained weights")
    cache_dir: MaybeOutputPath = Field(
        default=None, validate_default=True, description="folder of the feature cache (default: the platform's)"
    )
    output: OutputPath = Field(
        default=Path("runs/demo"), validate_default=True, description="folder for images, model and report"
    )


@dataclass(frozen=True)
class DemoResult:
    """The result of the demo; shares are from 0 to 1.

    `shown` is one test image: its path, its true class and the ranked predictions.
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
    shown: dict[str, Any]
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


def run_demo(config: DemoConfig) -> DemoResult:
    """Train, evaluate on the test split, predict one image.

    Raises:
        DemoError: the test accuracy is below `required_accuracy`.
        DataError: the images of `config.data` can't be used.
        WeightsError: the weights file can't be used. If weights can't be downloaded, random ones are used.
        ConfigError: the output can't be written.
    """
    from breedclf.data.training_data import training_images
    from breedclf.evaluation.evaluate import evaluate

    started = time.perf_counter()
    data = config.data or _drawn_images(config)
    training = _training(config, data)
    result = Trainer(training).fit()
    measured = evaluate(
        result.artifact, data, split="test", output=config.output / "evaluation", cache_dir=training.cache_dir
    )
    required = required_accuracy(len(measured.labels))
    if measured.accuracy < required:
        raise DemoError(_too_low(measured.accuracy, required, measured.count, str(measured.report), training.weights))
    folder = training_images(training)
    test = folder.split("test")
    number = config.seed % len(test)
    image = Path(test.images.name(number))
    return DemoResult(
        accuracy=measured.accuracy,
        accuracy_interval=measured.accuracy_interval,
        required_accuracy=required,
        classes=len(measured.labels),
        count=measured.count,
        architecture=training.architecture,
        weights=training.weights,
        epochs=training.epochs,
        data=str(data),
        artifact=str(result.artifact),
        report=str(measured.report),
        shown={
            "path": str(image),
            "label": folder.labels[test.targets[number]],
            "predictions": [guess.to_dict() for guess in result.classifier.predict(image).top(3)],
        },
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


def _training(config: DemoConfig, data: Path) -> TrainingConfig:
    weights = config.weights or _pretrained_or_none(config)
    random = weights.lower() == "none"
    settings: dict[str, Any] = {
        "data": data,
        "weights": weights,
        "architecture": config.architecture or ("resnet18" if random else "resnet50"),
        "epochs": config.epochs or (RANDOM_WEIGHTS_EPOCHS if random else 3),
        "seed": config.seed,
        "cache_dir": config.cache_dir,
        "output": config.output,
    }
    return TrainingConfig(**settings)


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


def _too_low(accuracy: float, required: float, count: int, report: str, weights: str) -> str:
    advice = "random weights are weak; try --weights FILE" if weights == "none" else "check the labels"
    return (
        f"the demo failed: test accuracy {accuracy:.1%} on {count} images is below the required {required:.1%}; "
        f"{advice}. See the confusion matrix in {report}"
    )
