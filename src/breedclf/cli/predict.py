"""`breedclf predict MODEL IMG...`: name what is in pictures."""

from __future__ import annotations

import argparse
from typing import Any

from breedclf.cli.console import Console
from breedclf.errors import ImageError
from breedclf.learning.classifier import NONE_OF_THESE, Classifier, Prediction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model folder that a training wrote (OUT/model)")
    parser.add_argument("pictures", metavar="IMG", nargs="+", help="picture files")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="how many classes to name (default: 5)")


def run(arguments: argparse.Namespace, console: Console) -> int:
    classifier = Classifier(arguments.model)
    answers = [_answer(classifier, picture, max(1, arguments.top)) for picture in arguments.pictures]
    console.result(answers, "\n".join(_as_text(answer) for answer in answers))
    failed = [answer["error"] for answer in answers if "error" in answer]
    for message in failed:
        console.error(message)
    return ImageError.exit_code if failed else 0


def _answer(classifier: Classifier, picture: str, top: int) -> dict[str, Any]:
    try:
        prediction: Prediction = classifier.predict(picture)
    except ImageError as error:
        return {"path": picture, "error": str(error)}
    ranked = [guess.to_dict() for guess in prediction.top(top)]
    return {"path": picture, "known": prediction.known, "predictions": ranked}


def _as_text(answer: dict[str, Any]) -> str:
    if "error" in answer:
        return f"{answer['path']}: not read"
    head = answer["path"] if answer["known"] else f"{answer['path']}: {NONE_OF_THESE}; the nearest are"
    return "\n".join(
        [head, *(f"  {guess['probability']:7.2%}  {guess['class_name']}" for guess in answer["predictions"])]
    )
