"""Which training settings can't be combined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from breedclf.config.choices import START_MODEL
from breedclf.config.import_path import DEFAULT_LOSS
from breedclf.files.s3_uri import whole_uri

if TYPE_CHECKING:
    from breedclf.config.training import TrainingConfig


def conflict(config: TrainingConfig) -> str | None:
    """What is wrong with the combination of settings, and how to change it; None if they fit together."""
    checks = (_shares, _start, _batch, _batch_norm, _device_decoding, _engine, _loss)
    return next((problem for check in checks if (problem := check(config)) is not None), None)


def _shares(config: TrainingConfig) -> str | None:
    if config.valid_share + config.test_share < 1:
        return None
    return (
        f"valid_share {config.valid_share} and test_share {config.test_share} leave nothing to train on: "
        "their sum must be below 1"
    )


def _start(config: TrainingConfig) -> str | None:
    if config.start_from is None:
        return (
            "weights=start_from needs a model: set start_from=OUTPUT/model" if config.weights == START_MODEL else None
        )
    if config.weights == START_MODEL:
        return None
    return (
        f"start_from={whole_uri(config.start_from)!r} and weights={config.weights!r} are both set, and each gives the "
        "initial weights: leave one of them out (weights=start_from overrides the weights of a settings file)"
    )


def _batch(config: TrainingConfig) -> str | None:
    steps = config.gradient_accumulation_steps
    if config.batch_size % steps == 0:
        return None
    return (
        f"gradient_accumulation_steps={steps} must divide batch_size={config.batch_size}, since a batch is computed "
        "in that many equal parts"
    )


def _batch_norm(config: TrainingConfig) -> str | None:
    if not config.activation_checkpointing or config.keeps_statistics or config.freeze == "head":
        return None
    return (
        "activation_checkpointing computes each batch twice, so that trained batch-norm statistics would be updated "
        "twice: set batch_norm=fixed, or turn activation_checkpointing off"
    )


def _device_decoding(config: TrainingConfig) -> str | None:
    if not config.device_decoding:
        return None
    if config.device not in ("auto", "cuda"):
        return f"device_decoding needs device=cuda, not {config.device}"
    if config.dct_scaling:
        return "device_decoding decodes images at full size: turn dct_scaling off"
    return None


def _engine(config: TrainingConfig) -> str | None:
    if config.engine == "torch":
        needs_openvino = config.precision == "int8"
        return "precision=int8 needs engine=openvino: torch computes in fp32 or bf16" if needs_openvino else None
    if config.freeze != "head":
        return f"engine=openvino computes features for freeze=head, not for freeze={config.freeze}"
    if config.device not in ("auto", "cpu") or config.device_decoding:
        device = "cuda" if config.device_decoding else config.device
        return f"engine=openvino computes on the CPU, not on device={device}: use engine=torch"
    if config.compile_network:
        return "engine=openvino compiles the network itself: turn compile_network off"
    return None


def _loss(config: TrainingConfig) -> str | None:
    if config.loss == DEFAULT_LOSS:
        return None
    if config.label_smoothing:
        return (
            f"label_smoothing={config.label_smoothing:g} smooths the targets of cross entropy, but loss={config.loss} "
            "gets class numbers: smooth them in your loss, and set label_smoothing=0"
        )
    if config.class_weights != "none":
        return (
            f"class_weights={config.class_weights} weights cross entropy, but loss={config.loss} is used as it is: "
            "weight the classes in your loss, and set class_weights=none"
        )
    return None
