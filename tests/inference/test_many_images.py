"""Predictions of any iterable: in order, as many images ahead as promised, and no thread left behind."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from breedclf import Classifier, ConfigError, ImageError, Prediction
from breedclf.inference.classifier import Classifier as Loaded
from tests.serving.conftest import draw

BEFORE: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def threads_before() -> None:
    """Other tests may share a server, whose threads decode, too."""
    BEFORE.clear()
    BEFORE.update(threading.enumerate())


def decoding_threads() -> list[threading.Thread]:
    """The threads that decode images, started in this test."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("decode") and thread not in BEFORE]


def test_every_iterable_gives_the_predictions_of_a_list_to_the_bit(classifier: Classifier, photos: list[Path]) -> None:
    expected = classifier.predict(photos)
    assert len({prediction.best.probability for prediction in expected}) == len(photos)
    assert list(classifier.predict_iter(photos)) == expected
    assert list(classifier.predict_iter(iter(photos))) == expected
    assert list(classifier.predict_iter(map(str, photos))) == expected
    assert classifier.predict(path for path in photos) == expected
    found = list(photos[0].parent.glob("*.jpg"))
    assert classifier.predict(photos[0].parent.glob("*.jpg")) == classifier.predict(found)
    rows = classifier.probabilities(iter(photos))
    assert [classifier.prediction(row) for row in rows] == expected


def test_images_that_a_generator_closes_or_reuses_are_read_in_time(classifier: Classifier, photos: list[Path]) -> None:
    expected = classifier.predict(photos)

    def opened() -> Iterator[object]:
        for path in photos:
            with path.open("rb") as file:
                yield file

    assert classifier.predict(opened()) == expected  # type: ignore[call-overload]

    def one_buffer() -> Iterator[np.ndarray]:  # gray: Pillow would share its memory
        buffer = np.empty((60, 80), np.uint8)
        for gray in grays:
            buffer[:] = gray
            yield buffer

    grays = [np.asarray(draw(number).convert("L")) for number in range(10)]
    assert classifier.predict(one_buffer()) == classifier.predict(grays)


def test_at_most_two_batches_are_taken_ahead_and_closing_ends_the_threads(
    classifier: Classifier, photos: list[Path]
) -> None:
    taken = itertools.count()
    source = (photo for photo in itertools.cycle(photos) if next(taken) >= 0)
    predictions = classifier.predict_iter(source)
    assert decoding_threads() == []
    for number in range(50):
        assert isinstance(next(predictions), Prediction)
        ahead = next(taken) - number  # counts itself too
        taken = itertools.count(number + ahead)
        assert ahead <= 2 * classifier.batch_size
    assert decoding_threads()
    predictions.close()  # type: ignore[attr-defined]
    assert decoding_threads() == []


def test_an_error_of_the_iterable_comes_after_the_predictions_before_it(
    classifier: Classifier, photos: list[Path]
) -> None:
    failure = RuntimeError("the camera is gone")

    def broken() -> Iterator[Path]:
        yield from photos[:6]
        raise failure

    found = []
    with pytest.raises(RuntimeError) as caught:
        for prediction in classifier.predict_iter(broken()):
            found.append(prediction)
    assert caught.value is failure
    assert found == classifier.predict(photos[:6])
    assert decoding_threads() == []


def test_an_unreadable_image_is_raised_or_returned_in_its_turn(
    classifier: Classifier, photos: list[Path], tmp_path: Path
) -> None:
    given = [*photos[:5], tmp_path / "missing.jpg", *photos[5:]]
    found = []
    with pytest.raises(ImageError, match=r"^images\[5\]: .*missing.jpg can't be read: No such file"):
        for prediction in classifier.predict_iter(given):
            found.append(prediction)
    assert len(found) == 5
    answers = list(classifier.predict_iter(given, on_error="return"))
    assert [position for position, answer in enumerate(answers) if isinstance(answer, ImageError)] == [5]
    assert len(answers) == 11
    for many in (classifier.predict, classifier.features, classifier.probabilities):
        with pytest.raises(ImageError, match=r"^images\[5\]: "):
            many(given)
    broken = [b"no image"] * 9
    assert all(isinstance(each, ImageError) for each in classifier.predict_iter(broken, on_error="return"))
    assert decoding_threads() == []


def test_wrong_arguments_are_refused_at_once(classifier: Classifier, photos: list[Path]) -> None:
    with pytest.raises(ImageError, match=r"one image \(PosixPath\) is given where several are expected"):
        classifier.predict_iter(photos[0])  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="on_error='skip': use raise or return"):
        classifier.predict_iter(photos, on_error="skip")  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="batch_size=0: choose 1 or more"):
        Loaded(classifier.artifact, batch_size=0)
