"""`breedclf predict MODEL IMG|DIR...`: classify images with a model directory or a running endpoint."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from breedclf.cli.flags import add_settings_flags, given_settings
from breedclf.cli.terminal import Terminal
from breedclf.config.evaluation import PredictionConfig
from breedclf.config.groups import PREDICTION_GROUPS
from breedclf.errors import ConfigError, DataError, ImageError, ModelError
from breedclf.files.paths import path_argument, path_or_uri_argument
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
    parser.add_argument(
        "images", metavar="IMG|DIR", nargs="+", type=path_or_uri_argument, help="image files, or folders of them"
    )
    parser.add_argument("--endpoint", metavar="NAME", action=_EndpointFlag, help="use this endpoint instead of MODEL")
    parser.add_argument("--backend", default="local", metavar="NAME", help="where the endpoint runs (default: local)")
    parser.add_argument("--top", type=_how_many, default=5, metavar="N", help="how many classes to print (default: 5)")
    parser.add_argument(
        "--explain",
        metavar="DIR",
        type=path_argument,
        help="write a PNG per image into this folder that shows what speaks for the most probable class",
    )
    add_settings_flags(parser, PredictionConfig, PREDICTION_GROUPS)


def _how_many(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} classes: choose 1 or more")
    return number


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    given = given_settings(arguments, PredictionConfig)
    explained: Sequence[dict[str, Any]] = ()
    if arguments.endpoint is not None:
        if arguments.explain is not None:
            raise ConfigError(
                "--explain has no effect on an endpoint, whose answers have no maps: predict with the model directory, "
                "as in breedclf predict OUT/model IMG --explain DIR"
            )
        if given:
            raise ConfigError(f"--{next(iter(given)).replace('_', '-')} has no effect on an endpoint: leave it out")
        images, results = _by_endpoint(arguments)
    else:
        images = [image for each in arguments.images for image in _files(each)]
        config = PredictionConfig(**given)
        if arguments.explain is None:
            results = _by_model(arguments.model, images, config)
        else:
            results, explained = _with_explanations(arguments.model, images, config, arguments.explain)
    answers = [_answer(image, result, arguments.top) for image, result in zip(images, results, strict=True)]
    for answer, more in zip(answers, explained, strict=False):
        answer |= more
    terminal.result(answers, "\n".join(_as_text(answer) for answer in answers))
    failed = [answer["error"] for answer in answers if "error" in answer]
    for message in failed:
        terminal.error(message)
    return ImageError.exit_code if failed else 0


def _files(image: str) -> list[str]:
    """The images below a folder, or the image itself.

    Raises:
        DataError: the folder has no images, or can't be read.
    """
    if not os.path.isdir(image):  # noqa: PTH112 - Path.is_dir raises for names that can't be paths
        return [image]
    from breedclf.data.image_folder import images_below
    from breedclf.data.images import IMAGE_SUFFIXES

    found = sorted(map(str, images_below(Path(image))))
    if not found:
        raise DataError(f"{image} contains no images; names must end with {', '.join(sorted(IMAGE_SUFFIXES))}")
    return found


def _by_model(model: str, images: list[str], config: PredictionConfig) -> Sequence[Prediction | str]:
    """The prediction of each image, or the reason why there is none.

    Less than a chunk of images pass through the network one by one, without the time that an empty rest of a chunk
    takes; features of more are stored and reused.
    """
    if len(images) > 1:
        from breedclf.files.paths import user_path
        from breedclf.inference.model_directory import read_card
        from breedclf.inference.scoring import Scoring, chunk_size_of

        folder = user_path(model, "model")
        if len(images) >= chunk_size_of(read_card(folder)):
            return Scoring.read(folder, config, tta=config.tta).predictions_of_files(images, config.coverage)
    from breedclf.inference.classifier import Classifier
    from breedclf.inference.conformal import check_coverage

    classifier = Classifier(model, tta=config.tta)
    if config.coverage is not None:
        check_coverage(classifier.card, config.coverage)
    return [_result(lambda file: classifier.predict(file, coverage=config.coverage), image) for image in images]


def _with_explanations(
    model: str, images: list[str], config: PredictionConfig, folder: Path
) -> tuple[list[Prediction | str], list[dict[str, Any]]]:
    """The predictions, from the passes that also give the maps, and for each what `--explain` adds to its answer.

    Raises:
        ConfigError: a file of the folder would be overwritten, or the network has no map.
    """
    from breedclf.explanations.files import new_files, save_png
    from breedclf.inference.classifier import Classifier

    files = new_files(folder, images)
    classifier = Classifier(model, tta=config.tta)
    results, added = list[Prediction | str](), list[dict[str, Any]]()
    for image, file in zip(images, files, strict=True):
        try:
            explanation = classifier.explain(image, coverage=config.coverage)
        except (ImageError, ModelError) as error:
            results.append(str(error))
            added.append({})
            continue
        save_png(explanation, file)
        results.append(explanation.prediction)
        found = explanation.to_dict()
        shown = {name: found[name] for name in ("class_name", "method", "exact", "border_share")}
        added.append({"explanation": {"file": str(file), **shown}})
    return results, added


def _by_endpoint(arguments: argparse.Namespace) -> tuple[list[str], Sequence[Prediction | str]]:
    from breedclf.api.deployment import Deployment

    images = [*([arguments.model] if arguments.model else []), *(arguments.images or [])]
    if not images:
        raise DataError("name at least one image")
    endpoint = Deployment.attach(arguments.endpoint, backend=arguments.backend)
    return images, [_result(endpoint.predict, image) for image in images]


def _result(predict: Callable[[str], Prediction], image: str) -> Prediction | str:
    try:
        return predict(image)
    except (ImageError, ModelError) as error:
        return str(error)


def _answer(image: str, result: Prediction | str, top: int) -> dict[str, Any]:
    if isinstance(result, str):
        return {"path": image, "error": result}
    return {"path": image, **result.to_dict(top)}


def _as_text(answer: dict[str, Any]) -> str:
    if "error" in answer:
        return f"{visible_name(answer['path'])}: not read"
    path = visible_name(answer["path"])
    head = path if answer["known"] else f"{path}: {NONE_OF_THESE}{_distance(answer)}; nearest:"
    lines = [f"  {guess['probability']:7.2%}  {visible_name(guess['class_name'])}" for guess in answer["predictions"]]
    if "prediction_set" in answer:
        lines.append(f"  set: {', '.join(visible_name(each['class_name']) for each in answer['prediction_set'])}")
    if "explanation" in answer:
        lines.append(f"  {answer['explanation']['method']}: {visible_name(answer['explanation']['file'])}")
    return "\n".join([head, *lines])


def _distance(answer: dict[str, Any]) -> str:
    return f" (distance {answer['distance']:.3f})" if "distance" in answer else ""
