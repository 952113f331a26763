"""`breedclf predict MODEL IMG...`: classify images with a model directory or a running endpoint."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from breedclf.cli.console import Console
from breedclf.errors import DataError, ImageError, ModelError
from breedclf.files.paths import path_or_uri_argument
from breedclf.inference.prediction import NONE_OF_THESE, Prediction
from breedclf.text.printable import visible_name


class _EndpointFlag(argparse.Action):
    """With an endpoint, all positional arguments are images, since there is no model."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        del option_string
        setattr(namespace, self.dest, values)
        for action in parser._actions:
            if action.dest in ("model", "images"):
                action.nargs = "?" if action.dest == "model" else "*"
                action.required = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", type=path_or_uri_argument, help="model directory (OUT/model of a training run)"
    )
    parser.add_argument("images", metavar="IMG", nargs="+", type=path_or_uri_argument, help="image files")
    parser.add_argument("--endpoint", metavar="NAME", action=_EndpointFlag, help="use this endpoint instead of MODEL")
    parser.add_argument("--backend", default="local", metavar="NAME", help="where the endpoint runs (default: local)")
    parser.add_argument("--top", type=_how_many, default=5, metavar="N", help="how many classes to print (default: 5)")


def _how_many(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} classes: choose 1 or more")
    return number


def run(arguments: argparse.Namespace, console: Console) -> int:
    predict, images = _predictor(arguments)
    answers = [_answer(predict, image, arguments.top) for image in images]
    console.result(answers, "\n".join(_as_text(answer) for answer in answers))
    failed = [answer["error"] for answer in answers if "error" in answer]
    for message in failed:
        console.error(message)
    return ImageError.exit_code if failed else 0


def _predictor(arguments: argparse.Namespace) -> tuple[Callable[[str], Prediction], list[str]]:
    """The function that predicts, and the images."""
    if arguments.endpoint is None:
        from breedclf.inference.classifier import Classifier

        classifier = Classifier(arguments.model)
        return (lambda image: classifier.predict(image)), arguments.images
    from breedclf.api.deployment import Deployment

    images = [*([arguments.model] if arguments.model else []), *(arguments.images or [])]
    if not images:
        raise DataError("name at least one image")
    return Deployment.attach(arguments.endpoint, backend=arguments.backend).predict, images


def _answer(predict: Callable[[str], Prediction], image: str, top: int) -> dict[str, Any]:
    try:
        prediction = predict(image)
    except (ImageError, ModelError) as error:
        return {"path": image, "error": str(error)}
    return {"path": image, **prediction.to_dict(top)}


def _as_text(answer: dict[str, Any]) -> str:
    if "error" in answer:
        return f"{visible_name(answer['path'])}: not read"
    path = visible_name(answer["path"])
    head = path if answer["known"] else f"{path}: {NONE_OF_THESE}; the nearest are"
    return "\n".join(
        [
            head,
            *(f"  {guess['probability']:7.2%}  {visible_name(guess['class_name'])}" for guess in answer["predictions"]),
        ]
    )
