"""What users do with an explanation: name classes, compare them, draw the map; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from breedclf.api.explained import EndpointExplanation
from breedclf.errors import ConfigError, ImageError
from breedclf.explanations.border import UNIFORM_BORDER_SHARE, border_share
from breedclf.explanations.classes import ClassNames
from breedclf.explanations.explainer import Explainer
from breedclf.explanations.explanation import Explanation
from breedclf.explanations.overlay import overlay, sequential_colors
from breedclf.files.typed import typed
from breedclf.serving.explaining import document_of
from breedclf.testing.images import PATTERNS, draw_image
from breedclf.testing.pages import read_page
from tests.explanations.conftest import NAMES, ClassifierOf, crops

IMAGE = draw_image(next(iter(PATTERNS)), np.random.default_rng(0))


@pytest.fixture(scope="module")
def explained(classifier_of: ClassifierOf) -> Explanation:
    return classifier_of("timm:test_resnet", crop_px=64).explain(IMAGE, "Beagle")


def test_the_most_probable_class_is_explained_unless_one_is_named(classifier_of: ClassifierOf) -> None:
    classifier = classifier_of("timm:test_resnet", crop_px=64)
    prediction = classifier.predict(IMAGE)
    explained = classifier.explain(IMAGE)
    assert explained.class_name == prediction.best.class_name
    assert explained.prediction == prediction, "to the bit, from the same pass"
    assert classifier.explain(IMAGE, "003.Basset_hound").class_name == "Basset hound"
    logits = [explained.of(name).score for name in NAMES]
    expected = {each.class_name: each.probability for each in prediction.ranked}
    found = dict(zip(NAMES, torch.softmax(torch.tensor(logits), 0).tolist(), strict=True))
    assert found == pytest.approx(expected, abs=1e-5)


def test_the_prediction_has_the_mirror_image_with_tta(classifier_of: ClassifierOf) -> None:
    classifier = classifier_of("timm:test_resnet", crop_px=64, tta=True)
    assert classifier.explain(IMAGE).prediction == classifier.predict(IMAGE)


def test_a_difference_is_a_new_explanation(explained: Explanation) -> None:
    difference = explained.difference("Harrier")
    assert str(difference) == "Beagle and not Harrier"
    assert difference.to_dict()["other"] == "Harrier"
    assert np.allclose(difference.values, -explained.of("Harrier").difference("Beagle").values, atol=1e-6)
    with pytest.raises(ConfigError, match="this is a difference of two classes"):
        difference.difference("Whippet")


@pytest.mark.parametrize("other", [None, "Harrier"])
def test_a_notebook_shows_the_same_of_an_endpoints_explanation(explained: Explanation, other: str | None) -> None:
    here = explained if other is None else explained.difference(other)
    document = document_of(here)
    there = typed(EndpointExplanation, {**document, "rows": document["values"]})
    assert there._repr_html_() == here._repr_html_()
    words = read_page(here._repr_html_()).text
    assert f"Why {here}" in words
    assert "class activation map, exact" in words
    assert ("Difference of scores" in words) == (other is not None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("Harier", "'Harier': the model has no such class; the nearest names are Harrier, ", id="a typo"),
        pytest.param("002.Beagle", "the nearest names are Beagle", id="another label"),
        pytest.param("Beagle", r"difference\('Beagle'\): that is the explained class", id="itself"),
    ],
)
def test_classes_that_cannot_be_compared(explained: Explanation, name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        explained.difference(name)


def test_a_name_of_two_classes_is_refused_and_labels_are_not() -> None:
    names = ClassNames(("a/x", "b/x"), ("x", "x"))
    assert names.index("b/x") == 1
    with pytest.raises(ConfigError, match="'x': 2 classes have this name; use a label: a/x, b/x"):
        names.index("x")


def test_a_model_with_one_class_is_explained(classifier_of: ClassifierOf) -> None:
    explained = classifier_of("timm:test_resnet", crop_px=64, labels=("001.Beagle",)).explain(IMAGE)
    assert abs(float(explained.values.sum()) + explained.bias - explained.score) < 1e-4
    with pytest.raises(ConfigError, match="no such class; the nearest name is Beagle"):
        explained.difference("Harrier")


def test_what_cannot_be_explained_is_refused_by_name(classifier_of: ClassifierOf) -> None:
    classifier = classifier_of("timm:test_resnet", crop_px=64)
    with pytest.raises(ConfigError, match="Path has no maps .* load the model directory with breedclf.Classifier"):
        Explainer(classifier.artifact)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="there are 1 classes for 3 images"):
        Explainer(classifier).explanations(crops(64), [0])
    with pytest.raises(ConfigError, match="there is no class 4: the model's classes are 0 to 3"):
        Explainer(classifier).explanations(crops(64), [0, 4, None])
    assert Explainer(classifier).explanations(crops(64)[:0]) == []
    with pytest.raises(ImageError, match="missing.jpg"):
        classifier.explain("missing.jpg")


def test_the_overlay_is_gray_without_evidence_and_bright_yellow_with_the_most(explained: Explanation) -> None:
    values = np.zeros((7, 7), np.float32)
    values[1, 5] = 2.0
    drawn = np.asarray(overlay(IMAGE.resize((70, 70)), values), int)
    gray, most = drawn[60, 10], drawn[15, 55]
    assert np.ptp(gray) <= 1
    assert most[0] > most[2] + 80 and most[1] > most[2] + 60, "yellow"
    against = np.asarray(overlay(IMAGE.resize((70, 70)), -values, diverging=True), int)[15, 55]
    assert against[2] > against[0] + 40, "blue"
    flat = overlay(IMAGE, np.zeros((2, 2), np.float32))
    assert np.ptp(np.asarray(flat, int), axis=2).max() <= 1
    assert explained.image().size == (64, 64)


def test_the_colors_become_lighter_evenly() -> None:
    luminance = np.cbrt((sequential_colors() ** 2.2) @ [0.2126, 0.7152, 0.0722])
    steps = np.diff(luminance)
    assert (steps > 0).all()
    assert steps.max() < 4 * steps.mean()


def test_the_border_is_the_outer_seventh_for_maps_of_any_size() -> None:
    for side in (1, 2, 7, 8, 14, 24):
        assert border_share(np.ones((side, side), np.float32)) == pytest.approx(UNIFORM_BORDER_SHARE)
    center = np.zeros((7, 7), np.float32)
    center[3, 3] = 1
    assert border_share(center) == 0
    center[0, 0], center[6, 2] = 1, -5
    assert border_share(center) == pytest.approx(0.5), "values below zero don't count"
    assert border_share(-np.ones((7, 7), np.float32)) == 0
