"""A finished journey as its record and material, made without training: for tests of the page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from breedclf.config import TrainingConfig
from breedclf.evaluation.metrics import Evaluation, measure
from breedclf.journey.page.material import Material
from breedclf.journey.record import Figure, JourneyRecord, Outcome, StepRecord, StepStatus
from breedclf.journey.settings import SEED_GRID, STEPS
from breedclf.model_store.records import Lineage, ModelRecord, ModelVersion
from breedclf.tuning.study import SearchRequest, Study
from breedclf.tuning.trials import Trial

JPEG = bytes.fromhex("ffd8ffe0") + b"a small jpeg"
EXAMPLE, SUSPECT, ASKED, MAP = "train/ants/1.jpg", "train/bees/2.jpg", "test/ants/3.jpg", "explanations/1.jpg"


def values_of_steps(*, class_name: str = "ants", path: str = ASKED) -> dict[str, dict[str, Any]]:
    """What each step found, as in journey.json."""
    return {
        "check": {
            "splits": {"train": 120, "valid": 50, "test": 50},
            "classes": {class_name: {"train": 60, "valid": 25, "test": 25}},
            "problems": [{"kind": "duplicate", "path": path, "detail": "the same as another"}],
            "examples": [{"path": EXAMPLE, "class_name": class_name}],
        },
        "tune": {
            "name": "journey-1",
            "trials": 3,
            "confirmation": {
                "best": "journey-1-0",
                "seeds": [1, 2, 3],
                "trials": [
                    {"name": "journey-1-0", "mean": 0.11, "spread": 0.01, "p_value": None, "is_level": False},
                    {"name": "journey-1-1", "mean": 0.12, "spread": 0.02, "p_value": 0.4, "is_level": True},
                ],
            },
        },
        "best": {"epochs": [{"train_loss": 0.6, "valid_loss": 0.5, "valid_accuracy": 0.8}] * 2},
        "profile": {
            "figures": {
                "time": [["train steps", 3.0], ["initialization", 1.0]],
                "issues": [{"rule": "Dataloader", "evidence": "60% is waiting.", "advice": "Use more workers."}],
                "tried": [{"name": "workers = 2", "before": 10.0, "after": 5.0, "speedup": 2.0, "kept": True}],
                "sentence": "workers = 2: 10.00 s -> 5.00 s (2.00x), n = 5, measured.",
            }
        },
        "evaluate": {"accuracy": 0.9},
        "review": {
            "suspects": 1,
            "refused": None,
            "first": [{"path": SUSPECT, "given": "bees", "proposed": class_name, "probability_wrong": 0.93}],
        },
        "gate": {"checks": [{"name": "accuracy", "passed": True, "detail": "90.0%, baseline 50.0%"}]},
        "register": {"name": "insects", "version": 2, "digest": "0" * 64},
        "deploy": {"endpoint": "insects-1", "url": "http://127.0.0.1:8080"},
        "predict": {
            "images": [
                {
                    "path": path,
                    "label": "001.ants",
                    "predicted": "001.ants",
                    "known": True,
                    "predictions": [{"class_name": class_name, "label": "001.ants", "probability": 0.97}],
                    "explanation": {
                        "file": MAP, "class_name": class_name, "method": "class activation map", "exact": True
                    },
                },
                {"path": "test/none/4.jpg", "label": "002.bees", "predicted": None, "known": False, "predictions": []},
            ]
        },
    }  # fmt: skip


REPORTS = {"tune": "tuning.html", "profile": "profile/report.html", "evaluate": "evaluation/report.html"}


def finished(
    values: dict[str, dict[str, Any]] | None = None, *, last: str = "clean-up", status: StepStatus = "Completed"
) -> JourneyRecord:
    """The record of a journey up to a step, which has a status; the steps before it are completed."""
    values = values_of_steps() if values is None else values
    names = STEPS[: STEPS.index(last) + 1]
    return JourneyRecord(
        steps=tuple(
            StepRecord(
                name=name,
                status=status if name == last else "Skipped" if name == "backbones" else "Completed",
                inputs={},
                seconds=float(number),
                outcome=Outcome(
                    headline=f"Step {name} says this.",
                    values=values.get(name, {}),
                    figures=(Figure(label="Images", value="220"),) if name == "check" else (),
                    report=REPORTS.get(name),
                ),
                python=f"breedclf.{name}('insects')",
                command=f"breedclf {name} insects --learning-rate 0.005,0.0075,0.01 --batch-size 32,64 --epochs 2,3",
            )
            for number, name in enumerate(names)
        )
    )


def study() -> Study:
    """A search of three trials, of which two are level."""
    request = SearchRequest(name="journey-1", config=TrainingConfig(data="insects"), space=SEED_GRID, strategy="grid")
    outcomes = ((0.005, 0.10, 0.92), (0.0075, 0.12, 0.90), (0.01, 0.90, 0.40))
    trials = tuple(
        Trial(
            name=f"journey-1-{index}",
            index=index,
            hyperparameters={"learning_rate": rate, "batch_size": 32, "epochs": 2},
            status="Completed",
            objective=loss,
            metrics={"valid_loss": loss, "valid_accuracy": accuracy},
            started=0.0,
            ended=2.0,
        )
        for index, (rate, loss, accuracy) in enumerate(outcomes)
    )
    return Study(request=request, key="0123abcd", created=0.0, status="Completed", trials=trials, valid_count=50)


def evaluation(class_name: str = "ants") -> Evaluation:
    """Nine of ten images correct."""
    rows = np.tile([0.8, 0.2], (10, 1))
    targets = np.array([0] * 9 + [1])
    names = [f"test/{index}.jpg" for index in range(10)]
    return measure(rows, targets, ["001.ants", "002.bees"], names, class_names=[class_name, "bees"], split="test")


def model() -> ModelRecord:
    """Two versions, of which the second is live."""
    lineage = Lineage(data="insects", data_fingerprint="abcdef0123456789", tuning_job="journey-1", trial="journey-1-0")
    versions = tuple(
        ModelVersion(
            version=number, digest=str(number) * 64, added=datetime(2026, 11, number, tzinfo=UTC), source="out/model",
            architecture="resnet18", classes=2, megabytes=44.5, metrics={"valid_accuracy": 0.9}, lineage=lineage,
        )
        for number in (1, 2)
    )  # fmt: skip
    return ModelRecord(name="insects", versions=versions, aliases={"live": 2, "previous": 1}, next_version=3)


def material(**changes: Any) -> Material:
    """Everything that the page can show."""
    found: dict[str, Any] = {
        "name": "insects",
        "data": "data/insects",
        "study": study(),
        "evaluation": evaluation(),
        "model": model(),
        "jpegs": dict.fromkeys((EXAMPLE, SUSPECT, ASKED, MAP, "test/9.jpg"), JPEG),
    }
    return Material(**{**found, **changes})
