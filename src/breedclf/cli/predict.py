"""`breedclf predict MODEL IMG...`: name what is in pictures, by a model folder or a running endpoint."""

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
    """With an endpoint there is no model among the words: all of them are pictures."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        del option_string
        setattr(namespace, self.dest, values)
        for action in parser._actions:
            if action.dest in ("model", "pictures"):
                action.nargs = "?" if action.dest == "model" else "*"
                action.required = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", type=path_or_uri_argument, help="model folder that a training wrote (OUT/model)"
    )
    parser.add_argument("pictures", metavar="IMG", nargs="+", type=path_or_uri_argument, help="picture files")
    parser.add_argument("--endpoint", metavar="NAME", action=_EndpointFlag, help="ask this endpoint instead of MODEL")
    parser.add_argument("--backend", default="local", metavar="NAME", help="where the endpoint is (default: local)")
    parser.add_argument("--top", type=_how_many, default=5, metavar="N", help="how many classes to name (default: 5)")


def _how_many(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} classes can't be named: give 1 or more")
    return number


def run(arguments: argparse.Namespace, console: Console) -> int:
    predict, pictures = _asked(arguments)
    answers = [_answer(predict, picture, arguments.top) for picture in pictures]
    console.result(answers, "\n".join(_as_text(answer) for answer in answers))
    failed = [answer["error"] for answer in answers if "error" in answer]
    for message in failed:
        console.error(message)
    return ImageError.exit_code if failed else 0


def _asked(arguments: argparse.Namespace) -> tuple[Callable[[str], Prediction], list[str]]:
    """Who answers, and about which pictures."""
    if arguments.endpoint is None:
        from breedclf.inference.classifier import Classifier

        classifier = Classifier(arguments.model)
        return (lambda picture: classifier.predict(picture)), arguments.pictures
    from breedclf.api.deployment import Deployment

    pictures = [*([arguments.model] if arguments.model else []), *(arguments.pictures or [])]
    if not pictures:
        raise DataError("name at least one picture")
    return Deployment.attach(arguments.endpoint, backend=arguments.backend).predict, pictures


def _answer(predict: Callable[[str], Prediction], picture: str, top: int) -> dict[str, Any]:
    try:
        prediction = predict(picture)
    except (ImageError, ModelError) as error:
        return {"path": picture, "error": str(error)}
    ranked = [guess.to_dict() for guess in prediction.top(top)]
    return {"path": picture, "known": prediction.known, "predictions": ranked}


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
