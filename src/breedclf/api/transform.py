"""Batch prediction: all images of a folder through an endpoint into files; resumes after an interruption."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from breedclf.api.answers import prediction_of
from breedclf.api.endpoint import Endpoint, file_of
from breedclf.config import Precision
from breedclf.config.evaluation import FeatureReuse
from breedclf.data.image_folder import images_below
from breedclf.data.images import IMAGE_SUFFIXES, open_image
from breedclf.errors import ArtifactError, BreedclfError, ConfigError, DataError, EndpointError, ImageError, ModelError
from breedclf.files.disk import write_atomic
from breedclf.files.file_stat import FileStat
from breedclf.inference.prediction import Prediction
from breedclf.jobs.endpoints import TransformBackend
from breedclf.text.json_lines import read_json_lines
from breedclf.text.printable import storable

JSON_LINES_FILE = "predictions.jsonl"
TABLE_FILE = "predictions.csv"
_ABOUT_FILE = "predictions.about.json"
_CHUNK = 64
_IMAGES_AT_A_TIME = 1024


@dataclass(frozen=True)
class TransformResult:
    """The result of a batch prediction: its files, the number of predicted images, and which failed and why."""

    predictions: Path
    table: Path
    answered: int
    failed: dict[str, str]


def transform(
    deploy: Callable[[], AbstractContextManager[Endpoint]],
    model: Path,
    folder: Path,
    output: Path,
    *,
    top: int,
    concurrency: int,
    progress: Callable[[int, int], None] | None,
    job: TransformBackend | None = None,
    precision: Precision | None = None,
    reuse: FeatureReuse | None = None,
) -> TransformResult:
    """See `Deployment.transform`; with a batch job, or a `precision` to compute in here, no endpoint is needed."""
    reuse = reuse or FeatureReuse()
    if precision is None and reuse != FeatureReuse():
        given = ", ".join(f"{name}={value!r}" for name, value in reuse.model_dump(exclude_defaults=True).items())
        raise ConfigError(f"{given}: only predictions in this process reuse features, and these aren't made here")
    if top < 1:
        raise ConfigError(f"top={top}: choose 1 class or more")
    pictures = _images(folder)
    if not pictures:
        raise DataError(f"{folder} contains no images; names must end with {', '.join(sorted(IMAGE_SUFFIXES))}")
    output.mkdir(parents=True, exist_ok=True)
    _claim(output, {"weights_sha256": _weights_of(model), "folder": storable(str(folder.resolve())), "top": top})
    lines = output / JSON_LINES_FILE
    done = {
        line["path"]: line
        for line in _whole_lines(lines)
        if "error" not in line and line["path"] in pictures and line.get("stamp") == pictures[line["path"]].stamp
    }
    todo = {name: picture for name, picture in pictures.items() if name not in done}
    _write(lines, [done[name] for name in pictures if name in done])
    if todo:
        with lines.open("a", encoding="utf-8") as file, ExitStack() as stack:
            if job is not None:
                answers = _answers_of_job(job, model, todo, top)
            elif precision is not None:
                answers = _answers_of_features(model, precision, reuse, todo, top)
            else:
                answers = _answers(stack.enter_context(deploy()), todo, top, concurrency)
            for line in answers:
                line["stamp"] = todo[line["path"]].stamp
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                file.flush()
                done[line["path"]] = line
                if progress is not None:
                    progress(len(done), len(pictures))
    ordered = [done[name] for name in pictures]
    _write(lines, ordered)
    _write_table(output / TABLE_FILE, ordered)
    failed = {line["path"]: line["error"] for line in ordered if "error" in line}
    return TransformResult(lines, output / TABLE_FILE, len(ordered) - len(failed), failed)


@dataclass(frozen=True)
class _Image:
    """An image's file, and its stat, to detect changes since it was predicted."""

    path: Path
    stamp: list[int]


def _images(folder: Path) -> dict[str, _Image]:
    """The images below a folder by their names in the output, sorted by name."""
    named = {storable(path.relative_to(folder).as_posix()): path for path in images_below(folder)}
    return {name: _Image(path, list(FileStat.of(path.stat()))) for name, path in sorted(named.items())}


def _answers(
    endpoint: Endpoint, pictures: Mapping[str, _Image], top: int, concurrency: int
) -> Iterator[dict[str, Any]]:
    """A line for each image, in order: failed images are reported, a failed endpoint raises."""
    remaining = iter(pictures.items())
    while chunk := list(islice(remaining, _CHUNK)):
        paths = [picture.path for _, picture in chunk]
        answers = endpoint.predict_many(paths, concurrency=concurrency, on_error="return")
        for (name, _), answer in zip(chunk, answers, strict=True):
            if isinstance(answer, EndpointError) and not isinstance(answer, ModelError):
                raise answer
            yield _line(name, answer, top)


def _answers_of_features(
    model: Path, precision: Precision, reuse: FeatureReuse, pictures: Mapping[str, _Image], top: int
) -> Iterator[dict[str, Any]]:
    """The same in this process, where the features of the images are reused and stored."""
    from breedclf.inference.scoring import Scoring

    scoring, remaining = Scoring.read(model, reuse, precision=precision), iter(pictures.items())
    while chunk := list(islice(remaining, _IMAGES_AT_A_TIME)):
        results = scoring.predictions_of_files([str(picture.path) for _, picture in chunk])
        for (name, _), result in zip(chunk, results, strict=True):
            yield _line(name, ImageError(result) if isinstance(result, str) else result, top)


def _answers_of_job(
    job: TransformBackend, model: Path, pictures: Mapping[str, _Image], top: int
) -> Iterator[dict[str, Any]]:
    """The same with one job; unreadable images aren't sent, since one of them would fail the whole job."""
    unreadable: dict[str, ImageError] = {}

    def readable() -> Iterator[tuple[str, bytes]]:
        for name, picture in pictures.items():
            try:
                data = file_of(picture.path)
                open_image(data, name=name)
            except ImageError as error:
                unreadable[name] = error
            else:
                yield name, data

    first = next(sent := readable(), None)
    answers = job.transform_images(model, chain([first], sent)) if first else iter(())
    for name, answer in answers:
        yield _line(name, prediction_of(answer) if isinstance(answer, bytes) else answer, top)
    for name, error in unreadable.items():
        yield _line(name, error, top)


def _line(name: str, answer: Prediction | BreedclfError, top: int) -> dict[str, Any]:
    if isinstance(answer, Prediction):
        return {"path": name, **answer.to_dict(top)}
    return {"path": name, "error": str(answer)}


def _claim(output: Path, about: dict[str, Any]) -> None:
    """Refuse to mix the predictions of two models, two folders or two lengths in one file."""
    file, lines = output / _ABOUT_FILE, output / JSON_LINES_FILE
    if file.exists():
        try:
            before = json.loads(file.read_bytes())
            changed = [key for key in about if before.get(key) != about[key]]
        except (ValueError, AttributeError):  # truncated
            changed = None
        if changed:
            raise ConfigError(f"{output} contains predictions with another {', '.join(changed)}; choose another output")
        if changed is not None:
            return
    if lines.exists() and lines.stat().st_size:
        raise ConfigError(f"{lines} exists already and may be of another model; choose another output")
    write_atomic(file, json.dumps(about, indent=2) + "\n")


def _weights_of(model: Path) -> str:
    try:
        return str(json.loads((model / "breedclf.json").read_text(encoding="utf-8"))["weights_sha256"])
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactError(f"{model} is not a breedclf model: its breedclf.json can't be read ({error})") from error


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The complete lines of an earlier run."""
    for line in read_json_lines(path):
        if isinstance(line, dict) and isinstance(line.get("path"), str):
            yield line


def _write(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    write_atomic(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def _write_table(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "rank", "class_name", "label", "probability", "error", "known", "distance"])
        for line in lines:
            if "error" in line:
                writer.writerow([line["path"], "", "", "", "", line["error"], "", ""])
            image = [line.get("known", ""), line.get("distance", "")]
            for rank, each in enumerate(line.get("predictions", ()), 1):
                guess = [each["class_name"], each["label"], each["probability"]]
                writer.writerow([line["path"], rank, *guess, "", *image])
