"""The text of a model card: what the model is, what it was measured on, and what isn't known about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING
from urllib.parse import quote

from breedclf.config import TrainingConfig
from breedclf.config.base import Decides, fields_that_decide
from breedclf.inference.readme.front_matter import front_matter, license_of
from breedclf.inference.readme.measured import Measured, split_counts, trained_data, validated
from breedclf.models.backbones.licenses import license_binds
from breedclf.reporting.formats import percent, plain, whole
from breedclf.text.markdown import markdown_table, markdown_text

if TYPE_CHECKING:
    from breedclf.inference.model_directory import ModelCard

_CLASSES_IN_TITLE = 5
_PAIRS = 5
_ALWAYS_SHOWN = ("epochs", "batch_size", "learning_rate", "optimizer", "freeze", "seed")
_ELSEWHERE = ("architecture",)
_IN_URLS = ":/?#@&=+,%~"
_SPLITS = {"valid": "validation", "all": "all images"}


def readme_text(card: ModelCard, tested: Measured | None = None, *, repository: str | None = None) -> str:
    """The README.md of a model: metadata for Hugging Face, then prose.

    The same card and evaluation give the same text; it has no dates and no paths of this machine.

    Args:
        card: of the model.
        tested: an evaluation of it.
        repository: where the text is published, such as `user/name`.
    """
    measured = [each for each in (validated(card), tested) if each is not None]
    title = _title(card)
    sections = {
        "": _summary(card),
        "Classes": _classes(card),
        "Accuracy": _accuracy(card, measured, tested),
        "Probabilities": _probabilities(card),
        "None of these": _none_of_these(card, tested),
        "Data": _data(card, tested),
        "Pretrained weights and license": _weights(card),
        "Preprocessing": _preprocessing(card),
        "Training": _training(card),
        "Limits": _limits(card, tested),
        "Use": _use(repository),
        "Versions": _versions(card),
    }
    body = "\n\n".join(f"## {heading}\n\n{text}" if heading else text for heading, text in sections.items())
    name = f"{card.architecture} on {trained_data(card)}"
    return f"{front_matter(card, name, measured)}\n# {title}\n\n{body}\n"


def _title(card: ModelCard) -> str:
    count = len(card.class_names)
    if count > _CLASSES_IN_TITLE:
        return f"Image classifier for {whole(count)} classes"
    return f"Image classifier: {', '.join(map(markdown_text, card.class_names))}"


def _summary(card: ModelCard) -> str:
    return (
        f"A `{card.architecture}` that says which of {whole(len(card.labels))} classes an image belongs to, and how "
        f"probable each of them is. It was fine-tuned on {markdown_text(trained_data(card))} with breedclf."
    )


def _classes(card: ModelCard) -> str:
    names = ", ".join(map(markdown_text, card.class_names))
    return f"{names}.\n\nThe order is that of the outputs. `breedclf.json` has the names of the class folders, too."


def _accuracy(card: ModelCard, measured: Sequence[Measured], tested: Measured | None) -> str:
    if not measured:
        return "Not measured."
    rows = [
        [
            markdown_text(each.data),
            _SPLITS.get(each.split, each.split),
            "–" if each.count is None else whole(each.count),
            percent(each.accuracy),
            "–" if each.interval is None else " to ".join(map(percent, each.interval)),
            "–" if each.loss is None else plain(each.loss),
        ]
        for each in measured
    ]
    parts = [markdown_table(["data", "split", "images", "accuracy", "95% interval", "loss"], rows)]
    if validated(card) is not None:
        parts.append(
            "The best epoch was chosen by the validation images, so their figures are optimistic. The interval is "
            "Wilson's score interval; the loss is the mean negative log-likelihood in nats."
        )
    if tested is None:
        parts.append("It has not been evaluated on other images: `breedclf evaluate` does that.")
    elif tested.confused:
        pairs = ", ".join(
            f"{markdown_text(true)} predicted as {markdown_text(predicted)} ({whole(count)})"
            for true, predicted, count in tested.confused[:_PAIRS]
        )
        parts.append(f"Most confused: {pairs}.")
    return "\n\n".join(parts)


def _probabilities(card: ModelCard) -> str:
    found = card.calibration
    if found is None:
        text = "They were not calibrated."
    elif found.temperature == 1:
        text = (
            f"No temperature was surely better than 1, so they are not changed; the mean negative log-likelihood is "
            f"{plain(found.nll_before)}, by {whole(found.images)} validation images."
        )
    else:
        text = (
            f"Calibrated with the temperature {plain(found.temperature)}, by which the weights of the head are already "
            f"divided: the mean negative log-likelihood of {whole(found.images)} validation images was "
            f"{plain(found.nll_before)} before, and is {plain(found.nll_after)} now."
        )
    if card.conformal is not None:
        text += f" Prediction sets are based on {whole(card.conformal.images)} validation images."
    return text


def _none_of_these(card: ModelCard, tested: Measured | None) -> str:
    parts = []
    if (bank := card.feature_bank) is not None:
        parts.append(
            f"An image is answered “none of these” if its distance to the training images is above "
            f"{plain(bank.threshold)}. {percent(bank.kept_share)} of {whole(bank.limited_on_images)} images of the "
            f"classes are below it."
        )
    if card.min_confidence is not None:
        parts.append(f"So is an image whose best probability is below {plain(card.min_confidence)}.")
    if not parts:
        return "The model answers with one of its classes for every image, also for images of something else."
    if tested is not None and tested.let_through is not None:
        parts.append(f"Of images that are none of the classes, {percent(tested.let_through)} got one anyway.")
    return " ".join(parts)


def _data(card: ModelCard, tested: Measured | None) -> str:
    counts = split_counts(card)
    rows = [["dataset", markdown_text(trained_data(card))]]
    rows += [[f"{_SPLITS.get(split, split)} images", whole(count)] for split, count in counts.items()]
    if tested is not None and tested.split == "test" and tested.count is not None:
        rows.append(["test images", whole(tested.count)])
    if card.data_fingerprint:
        rows.append(["fingerprint", markdown_text(card.data_fingerprint)])
    return markdown_table(["", ""], rows)


def _weights(card: ModelCard) -> str:
    backbone, known = card.backbone, license_of(card)
    rows = [["network", f"`{card.architecture}`"]]
    if backbone is not None:
        rows.append(["weights", markdown_text(PurePath(backbone.weights).name)])
        if backbone.source:
            rows.append(["source", f"<{quote(backbone.source, safe=_IN_URLS)}>"])
    rows.append(["license", markdown_text(known) if known else "not known"])
    parts = [markdown_table(["", ""], rows)]
    if backbone is not None and backbone.weights == "none":
        parts.append("The network started from random weights, which have no license.")
    elif known is None:
        parts.append("The weights came without a license that breedclf knows. Ask whoever published them.")
    elif license_binds(known.partition(" ")[0]):
        parts.append("This license restricts what the weights, and models trained from them, may be used for.")
    if known is not None and "torchvision" in known:
        parts.append("torchvision states a license of its code, but none of the weights.")
    if (start := card.start_from) is not None:
        parts.append(f"Training continued a model whose weights have the SHA-256 {markdown_text(start.fingerprint)}.")
    return "\n\n".join(parts)


def _preprocessing(card: ModelCard) -> str:
    how = card.preprocessing
    mean, std = (", ".join(map(plain, values)) for values in (how.mean, how.std))
    text = (
        f"The shorter side is scaled to {how.resize_px} px ({how.interpolation}, antialiased), and the central "
        f"{how.crop_px} x {how.crop_px} px are cropped. The mean {mean} is subtracted from the channels, whose values "
        f"are from 0 to 1, and the result is divided by {std}."
    )
    if how.color == "srgb":
        text += " Colors are converted to sRGB."
    if how.dct_scaling:
        text += " Large JPEGs are decoded at a smaller size."
    return text


def _training(card: ModelCard) -> str:
    given = card.training
    shown = fields_that_decide(TrainingConfig, Decides.LEARNING, Decides.LENGTH, Decides.CHOICE)
    names = [name for name in TrainingConfig.model_fields if name in shown and name in given and name not in _ELSEWHERE]
    rows = [
        [f"`{name}`", markdown_text(str(given[name]))]
        for name in names
        if name in _ALWAYS_SHOWN or given[name] != TrainingConfig.model_fields[name].default
    ]
    if "best_epoch" in given:
        rows.append(["best epoch", markdown_text(str(given["best_epoch"]))])
    if not rows:
        return "The settings aren't known."
    return markdown_table(["setting", "value"], rows) + "\n\nAll others are the defaults, and in `breedclf.json`."


def _limits(card: ModelCard, tested: Measured | None) -> str:
    unlike = tested is not None and tested.let_through is not None
    limits = [
        "It only knows the classes above."
        if card.feature_bank is None
        else "“None of these” is meant for images of something else. " + _near_classes(card),
        "Accuracy was measured on images of the same source as the training images. Other cameras, places and "
        "seasons weren't tested.",
        "Published weights were trained on images from the web, perhaps also on some of these: on public datasets, the "
        "accuracy may be too high.",
    ]
    if tested is None:
        limits.insert(1, "There is no accuracy on images that took no part in training and in choosing the best epoch.")
    if not unlike:
        limits.append("Images that are none of the classes weren't tested.")
    return "\n".join(f"- {limit}" for limit in limits)


def _near_classes(card: ModelCard) -> str:
    found = None if card.feature_bank is None else card.feature_bank.near_auroc
    if found is None:
        return "A class that is similar to these gets one of them."
    return (
        "A class that is similar to these often gets one of them: for classes that were held out, the AUROC of the "
        f"distance is {plain(found, 3)} (1 is perfect, 0.5 is chance)."
    )


def _use(repository: str | None) -> str:
    fetch = "" if repository is None else f"hf download {repository} --local-dir model\n"
    return (
        "```python\nfrom breedclf import Classifier\n\n"
        'prediction = Classifier("model").predict("image.jpg")\nprint(prediction.known, prediction.top(3))\n```\n\n'
        f"```bash\n{fetch}breedclf predict model image.jpg\n```\n\n"
        "Here `model` is the directory with this file. `model.safetensors` is a plain state dict, which "
        "torchvision or timm loads without breedclf."
    )


def _versions(card: ModelCard) -> str:
    libraries: Mapping[str, str] = {
        "breedclf": card.breedclf_version,
        "torch": card.torch_version,
        **({} if card.backbone is None else {card.backbone.library: card.backbone.library_version}),
    }
    return ", ".join(f"{name} {markdown_text(version)}" for name, version in libraries.items()) + "."
