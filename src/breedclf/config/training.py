"""The typed settings of a training: one source for Python, files, flags, environment and job hyperparameters."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from breedclf.config.base import Decides, MaybeOutputPath, MaybeText, MaybeUserPath, OutputPath, UserPath
from breedclf.config.base import Settings as Settings
from breedclf.config.base import nearest as nearest
from breedclf.config.files import read_settings as read_settings
from breedclf.config.files import render_settings
from breedclf.errors import ConfigError
from breedclf.files.paths import text_path, user_path, user_uri

Architecture = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
Freeze = Literal["head", "layer4", "none"]
Head = Literal["standardised", "linear"]
OptimizerName = Literal["sgd", "adamw"]
Schedule = Literal["auto", "constant", "cosine", "one_cycle"]
ClassWeights = Literal["none", "balanced"]
Augment = Literal["auto", "none", "crop"]
BatchNorm = Literal["auto", "fixed", "trained"]
Objective = Literal["valid_loss", "valid_accuracy"]
OnBadImage = Literal["error", "skip"]
Precision = Literal["auto", "fp32", "bf16"]
TrainingPrecision = Literal["auto", "fp32", "bf16", "int8"]
Engine = Literal["torch", "openvino"]
Profiling = Literal["off", "timers", "full"]
Device = Literal["auto", "cpu", "cuda", "mps"]

WEIGHTS_NAMES = ("IMAGENET1K_V1", "IMAGENET1K_V2", "none")
LOGGER_NAMES = ("mlflow", "tensorboard")
ENVIRONMENT_PREFIX = "BREEDCLF_"
MAX_HYPERPARAMETERS = 100
MAX_HYPERPARAMETER_CHARS = 2_500
_RESERVED_HYPERPARAMETERS = ("sagemaker_", "_tuning_")


def weights_name(value: object) -> object:
    """`None` and any spelling of a known name become that name; everything else is a path."""
    if value is None:
        return "none"
    known = {name.lower(): name for name in WEIGHTS_NAMES}
    return known.get(str(value).lower()) or str(_checked(text_path, str(value), "weights"))


def _mlflow_address(value: object) -> object:
    return _checked(user_uri, value, "mlflow_uri") if isinstance(value, str) else value


def _checked(check: Callable[[str, str], object], value: str, name: str) -> object:
    try:
        return check(value, name)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _logger_names(value: object) -> object:
    """Names of loggers, separated by commas or in a list, in one order; a misspelt one is refused."""
    given = value.split(",") if isinstance(value, str) else list(value) if isinstance(value, (list, tuple)) else None
    if given is None:
        return value
    names = sorted({str(name).strip().lower() for name in given} - {"", "none"})
    for name in names:
        if name not in LOGGER_NAMES:
            raise ValueError(f"log_to={name!r} is no logger: {nearest(name, LOGGER_NAMES)}")
    return ",".join(names) or "none"


class TrainingConfig(Settings):
    """Everything that decides a training.

    Field names are the command line's flags (`learning_rate` is `--learning-rate`), the keys of a settings file and the
    names of a job's hyperparameters.

    Raises:
        ConfigError: a key is unknown, or a value has the wrong type or lies outside its range.

    Example:
        >>> TrainingConfig(data="dogImages", epochs=2).learning_rate
        0.005
    """

    data: Annotated[UserPath, Decides.IMAGES] = Field(
        description="folder with train/, valid/ and test/, or one folder of class folders"
    )
    architecture: Annotated[Architecture, Decides.LEARNING] = Field(
        default="resnet50", description="network to fine-tune"
    )
    weights: Annotated[str, BeforeValidator(weights_name), Decides.START] = Field(
        default="IMAGENET1K_V1", description="IMAGENET1K_V1, IMAGENET1K_V2, none, or a file with a state dict"
    )
    epochs: Annotated[int, Decides.LENGTH] = Field(
        default=3, ge=1, le=10_000, description="passes over the training pictures"
    )
    batch_size: Annotated[int, Decides.LEARNING] = Field(
        default=32, ge=1, le=65_536, description="pictures per optimizer step"
    )
    learning_rate: Annotated[float, Decides.LEARNING] = Field(
        default=0.005, gt=0, le=100, description="step size of the last layer"
    )
    momentum: Annotated[float, Decides.LEARNING] = Field(default=0.9, ge=0, lt=1, description="momentum of SGD")
    weight_decay: Annotated[float, Decides.LEARNING] = Field(
        default=0.0, ge=0, le=1, description="L2 penalty of SGD, decoupled decay of AdamW"
    )
    freeze: Annotated[Freeze, Decides.LEARNING] = Field(
        default="head", description="what is trained: the head alone, layer4 and the head, or all (none is frozen)"
    )
    backbone_learning_rate: Annotated[float | None, MaybeText, Decides.LEARNING] = Field(
        default=None, gt=0, le=100, description="step size of what else is trained (default: learning_rate / 50)"
    )
    layer_decay: Annotated[float, Decides.LEARNING] = Field(
        default=1.0, gt=0, le=1, description="factor on the step size from each stage to the one before it"
    )
    optimizer: Annotated[OptimizerName, Decides.LEARNING] = Field(
        default="sgd", description="sgd with momentum, or adamw"
    )
    schedule: Annotated[Schedule, Decides.LEARNING] = Field(
        default="auto", description="of the step sizes; auto is constant for a head, cosine when more is trained"
    )
    warmup_epochs: Annotated[float | None, MaybeText, Decides.LEARNING] = Field(
        default=None,
        ge=0,
        le=10_000,
        description="epochs in which the step sizes rise (default: none for a constant schedule, else a tenth)",
    )
    label_smoothing: Annotated[float, Decides.LEARNING] = Field(
        default=0.0, ge=0, lt=1, description="share of each target given to all classes"
    )
    class_weights: Annotated[ClassWeights, Decides.LEARNING] = Field(
        default="none", description="balanced weighs a picture by how rare its class is in training"
    )
    augment: Annotated[Augment, Decides.LEARNING] = Field(
        default="auto",
        description="crop: a random crop, possibly mirrored, new in each epoch; auto is none for a head, else crop",
    )
    mixup: Annotated[float, Decides.LEARNING] = Field(
        default=0.0, ge=0, le=10, description="alpha of mixup: blends of two pictures; 0 is without"
    )
    ema: Annotated[float, Decides.LEARNING] = Field(
        default=0.0, ge=0, lt=1, description="decay of the moving average of the weights that is kept; 0 is without"
    )
    patience: Annotated[int | None, MaybeText, Decides.LENGTH] = Field(
        default=None, ge=1, le=10_000, description="stop after so many epochs without a better one"
    )
    clip_norm: Annotated[float | None, MaybeText, Decides.LEARNING] = Field(
        default=None, gt=0, description="longest gradient; a longer one is scaled down to it"
    )
    accumulate: Annotated[int, Decides.LEARNING] = Field(
        default=1, ge=1, le=4_096, description="passes in which a batch is computed, to save memory; divides batch_size"
    )
    activation_checkpointing: Annotated[bool, Decides.SPEED] = Field(
        default=False, description="compute the trained stages once more on the way back, to save memory"
    )
    batch_norm: Annotated[BatchNorm, Decides.LEARNING] = Field(
        default="auto",
        description="statistics of trained stages; auto keeps those of pretrained weights fixed, trains random ones'",
    )
    head: Annotated[Head, Decides.LEARNING] = Field(
        default="standardised", description="standardised scales the features first; linear is a plain layer"
    )
    objective: Annotated[Objective, Decides.CHOICE] = Field(
        default="valid_loss", description="measure that picks the best epoch"
    )
    seed: Annotated[int, Decides.LEARNING] = Field(
        default=0, ge=0, lt=2**63, description="seed of the head and of the order of pictures"
    )
    views: Annotated[int, Decides.LEARNING] = Field(
        default=1, ge=1, le=1_000, description="epoch e trains on view e mod VIEWS; view 0 is the plain crop"
    )
    view_seed: Annotated[int, Decides.LEARNING] = Field(
        default=0, ge=0, lt=2**63, description="seed of the random crops of views 1 and up"
    )
    on_bad_image: Annotated[OnBadImage, Decides.IMAGES] = Field(
        default="error", description="stop at an unreadable picture, or skip and count it"
    )
    valid_share: Annotated[float, Decides.IMAGES] = Field(
        default=0.15, gt=0, lt=1, description="validation share when the folder has no splits"
    )
    test_share: Annotated[float, Decides.IMAGES] = Field(
        default=0.15, ge=0, lt=1, description="test share when the folder has no splits"
    )
    split_seed: Annotated[int, Decides.IMAGES] = Field(default=0, ge=0, lt=2**63, description="seed of that split")
    feature_cache: Annotated[bool, Decides.SPEED] = Field(
        default=True, description="compute the frozen part once and keep it for later runs"
    )
    dct_scaling: Annotated[bool, Decides.LEARNING] = Field(
        default=False,
        description="decode JPEGs that are far too large at 1/2 to 1/8 of their size, which changes pixels a little",
    )
    device_decoding: Annotated[bool, Decides.LEARNING] = Field(
        default=False,
        description="decode and crop plain JPEGs on a CUDA device, by nvJPEG, whose pixels differ a little",
    )
    prepared_pictures: Annotated[bool, Decides.LEARNING] = Field(
        default=False,
        description="keep pictures decoded and scaled for later epochs and runs, where they pass the network each time",
    )
    cache_dir: Annotated[MaybeOutputPath, Decides.RECORDS] = Field(
        default=None, description="folder of the caches (default: the platform's)"
    )
    output: Annotated[OutputPath, Decides.RECORDS] = Field(
        default=Path("runs/train"), description="folder that gets the model, the history and the report"
    )
    checkpoints: Annotated[bool, Decides.RECORDS] = Field(
        default=True, description="keep the full state after each epoch, in OUTPUT/checkpoints"
    )
    resume: Annotated[bool, Decides.RECORDS] = Field(
        default=False, description="go on from the last checkpoint in the output, if there is one"
    )
    device: Annotated[Device, Decides.SPEED] = Field(default="auto", description="where to compute")
    precision: Annotated[TrainingPrecision, Decides.LEARNING] = Field(
        default="auto",
        description="auto takes bf16 where the hardware has it; int8 is for openvino, and tried for accuracy first",
    )
    engine: Annotated[Engine, Decides.LEARNING] = Field(
        default="torch", description="what computes the frozen part; openvino, an extra, is quicker on some CPUs"
    )
    max_accuracy_drop: Annotated[float, Decides.RECORDS] = Field(
        default=0.01, gt=0, lt=1, description="share of valid pictures that int8 may cost, or it is refused"
    )
    workers: Annotated[int | None, MaybeText, Decides.SPEED] = Field(
        default=None, ge=0, le=256, description="loader processes (default: chosen for this machine)"
    )
    chunk_size: Annotated[int, Decides.SPEED] = Field(
        default=32, ge=1, le=4_096, description="pictures per pass through the frozen part"
    )
    pin_memory: Annotated[bool, Decides.SPEED] = Field(
        default=True, description="copy pictures to a GPU from pinned memory; elsewhere it does nothing"
    )
    channels_last: Annotated[bool, Decides.SPEED] = Field(
        default=True, description="keep a pixel's channels side by side in memory"
    )
    compile_network: Annotated[bool, Decides.SPEED] = Field(
        default=False,
        description="compile the frozen part; the log says how long that took, up to a minute in each run",
    )
    deterministic: Annotated[bool, Decides.SPEED] = Field(
        default=False, description="repeat bit for bit, also on a GPU, at some cost in speed"
    )
    profile: Annotated[Profiling, Decides.RECORDS] = Field(
        default="timers",
        description="what is recorded of the run: timers costs next to nothing, full also traces operators",
    )
    log_to: Annotated[str, BeforeValidator(_logger_names), Decides.RECORDS] = Field(
        default="none", description="tensorboard, mlflow, or both with a comma: where the training is logged, too"
    )
    mlflow_uri: Annotated[str | None, BeforeValidator(_mlflow_address), MaybeText, Decides.RECORDS] = Field(
        default=None, description="MLflow's server, sqlite:///FILE or SageMaker ARN (default: MLflow's own)"
    )
    mlflow_experiment: Annotated[str | None, MaybeText, Decides.RECORDS] = Field(
        default=None, description="MLflow's experiment (default: MLFLOW_EXPERIMENT_NAME, or breedclf)"
    )
    min_confidence: Annotated[float | None, MaybeText, Decides.RECORDS] = Field(
        default=None, gt=0, lt=1, description="below it the model answers none of these"
    )

    @property
    def loggers(self) -> tuple[str, ...]:
        """The names in `log_to`."""
        return () if self.log_to == "none" else tuple(self.log_to.split(","))

    @property
    def keeps_statistics(self) -> bool:
        """Whether batch norms of trained stages keep the statistics that came with the weights.

        Example:
            >>> TrainingConfig(data="x").keeps_statistics, TrainingConfig(data="x", weights="none").keeps_statistics
            (True, False)
        """
        return self.weights != "none" if self.batch_norm == "auto" else self.batch_norm == "fixed"

    @model_validator(mode="after")
    def _shares_leave_training_images(self) -> Self:
        if self.valid_share + self.test_share >= 1:
            raise ValueError(
                f"valid_share {self.valid_share} and test_share {self.test_share} leave nothing to train on: "
                "their sum must be below 1"
            )
        return self

    @model_validator(mode="after")
    def _passes_divide_the_batch(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"accumulate={self.accumulate} must divide batch_size={self.batch_size}, since a batch is computed in "
                "that many equal parts"
            )
        return self

    @model_validator(mode="after")
    def _statistics_are_met_once(self) -> Self:
        if self.activation_checkpointing and not self.keeps_statistics and self.freeze != "head":
            raise ValueError(
                "activation_checkpointing computes each batch twice, and batch norms that learn their statistics would "
                "learn them twice: set batch_norm=fixed, or leave activation_checkpointing off"
            )
        return self

    @model_validator(mode="after")
    def _device_can_decode(self) -> Self:
        if self.device_decoding and self.device not in ("auto", "cuda"):
            raise ValueError(f"device_decoding needs device=cuda, not {self.device}")
        if self.device_decoding and self.dct_scaling:
            raise ValueError("device_decoding decodes pictures whole: leave dct_scaling off")
        return self

    @model_validator(mode="after")
    def _engine_fits(self) -> Self:
        if self.precision == "int8" and self.engine != "openvino":
            raise ValueError("precision=int8 needs engine=openvino: torch computes in fp32 or bf16")
        if self.engine == "torch":
            return self
        if self.freeze != "head":
            raise ValueError(f"engine=openvino computes features for freeze=head, not for freeze={self.freeze}")
        if self.device not in ("auto", "cpu") or self.device_decoding:
            device = "cuda" if self.device_decoding else self.device
            raise ValueError(f"engine=openvino computes on the CPU, not on device={device}: use engine=torch")
        if self.compile_network:
            raise ValueError("engine=openvino compiles the network itself: leave compile_network off")
        return self

    @classmethod
    def from_file(cls, path: str | Path, **overrides: Any) -> Self:
        """Read a YAML, TOML or JSON file; keyword arguments win over its values."""
        return cls(**{**read_settings(path), **overrides})

    @classmethod
    def from_saved(cls, values: Mapping[str, Any]) -> Self:
        """Settings that breedclf wrote itself, perhaps another version: names that it doesn't know are left out."""
        return cls(**{name: value for name, value in values.items() if name in cls.model_fields})

    def to_file(self, path: str | Path) -> None:
        """Write all settings as YAML, TOML or JSON, by the file's suffix."""
        path = user_path(path, "path")
        try:
            path.write_text(render_settings(self.to_dict(), path), encoding="utf-8")
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"{path}: a path among the settings isn't text ({error.object!r}), which {path.suffix} can't hold; "
                "rename it, or write .json"
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """Plain values only (paths as text), without the fields that are not set."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_hyperparameters(self) -> dict[str, str]:
        """The flat text pairs that a job carries; text that reads as another type is quoted as JSON.

        Raises:
            ConfigError: a value is longer than 2,500 characters, holds a single quote or begins with a double one.
        """
        pairs = {name: _as_hyperparameter(name, value) for name, value in self.to_dict().items()}
        assert len(pairs) <= MAX_HYPERPARAMETERS
        return pairs

    @classmethod
    def from_hyperparameters(cls, pairs: Mapping[str, Any], **overrides: Any) -> Self:
        """Read a job's hyperparameters in any spelling SageMaker sends; its reserved names are left out."""
        own = {k.replace("-", "_"): v for k, v in pairs.items() if not k.startswith(_RESERVED_HYPERPARAMETERS)}
        return cls(**{**{name: _from_hyperparameter(value) for name, value in own.items()}, **overrides})

    @classmethod
    def environment(cls, variables: Mapping[str, str] | None = None) -> dict[str, str]:
        """The settings that the environment gives (`BREEDCLF_EPOCHS=2`), by field name; an empty variable gives none.

        Raises:
            ConfigError: a variable looks like a misspelt field.
        """
        variables = os.environ if variables is None else variables
        found = {}
        for variable, value in variables.items():
            if not variable.startswith(ENVIRONMENT_PREFIX) or not value:
                continue
            name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
            if name in cls.model_fields:
                found[name] = value
            elif near := difflib.get_close_matches(name, cls.model_fields, n=1, cutoff=0.8):
                raise ConfigError(
                    f"environment variable {variable}: did you mean {ENVIRONMENT_PREFIX}{near[0].upper()}?"
                )
        return found


class EvaluationConfig(Settings):
    """How a model is measured on pictures; field names are the flags of `breedclf evaluate`.

    Raises:
        ConfigError: a key is unknown, or a value has the wrong type or lies outside its range.
    """

    split: Literal["train", "valid", "val", "validation", "test", "all"] = Field(
        default="test", description="which pictures; all takes every one"
    )
    output: MaybeUserPath = Field(
        default=None, description="folder for metrics.json and report.html (default: evaluation-SPLIT beside the model)"
    )
    on_bad_image: OnBadImage = Field(default="error", description="stop at an unreadable picture, or skip and count it")
    device: Device = Field(default="auto", description="where to compute")
    precision: Precision = Field(default="auto", description="auto takes bf16 where the hardware has it")
    batch_size: int = Field(default=32, ge=1, le=4_096, description="pictures per pass through the network")
    workers: Annotated[int | None, MaybeText] = Field(
        default=None, ge=0, le=256, description="loader processes (default: chosen for this machine)"
    )


def _as_hyperparameter(name: str, value: object) -> str:
    if isinstance(value, str) and value.startswith('"'):
        raise ConfigError(f"hyperparameter {name}={value!r} begins with a quote, which a job takes for quoting")
    text = value if isinstance(value, str) else json.dumps(value)
    if isinstance(value, str) and _reads_as_json(value):
        text = json.dumps(value)
    if len(text) > MAX_HYPERPARAMETER_CHARS:
        raise ConfigError(
            f"hyperparameter {name} has {len(text)} characters; a job takes at most {MAX_HYPERPARAMETER_CHARS}"
        )
    if "'" in text:
        raise ConfigError(f"hyperparameter {name}={text!r} holds a single quote, which a job's shell can't carry")
    return text


def _from_hyperparameter(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.startswith('"'):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _reads_as_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
