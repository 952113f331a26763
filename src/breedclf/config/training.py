"""`TrainingConfig`: the same settings for Python, files, flags, the environment and job hyperparameters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from breedclf.config import import_path
from breedclf.config.architectures import TIMM
from breedclf.config.base import (
    Decides,
    MaybeOutputPath,
    MaybeText,
    MaybeTextPath,
    MaybeUserPath,
    OutputPath,
    UserPathOrNone,
)
from breedclf.config.choices import (
    START_MODEL,
    Architecture,
    Augment,
    BatchNorm,
    ClassWeights,
    Device,
    Engine,
    FeatureStorePlace,
    Freeze,
    Head,
    LogTo,
    Objective,
    OnBadImage,
    OptimizerName,
    Profiling,
    Schedule,
    TrainingPrecision,
    Weights,
    checked_mlflow_uri,
)
from breedclf.config.conflicts import conflict
from breedclf.config.conversions import ConvertibleSettings


class TrainingConfig(ConvertibleSettings):
    """The settings of a training run.

    Field names are the command line's flags (`learning_rate` is `--learning-rate`), the keys of a settings file and the
    names of a job's hyperparameters.

    Raises:
        ConfigError: a key is unknown, or a value has the wrong type or is out of range.

    Example:
        >>> TrainingConfig(data="dogImages", epochs=2).learning_rate
        0.005
    """

    data: Annotated[UserPathOrNone, Decides.IMAGES] = Field(
        default=None,
        validate_default=True,
        description="folder with train/, valid/ and test/, or of class folders; or a table of paths and labels",
    )
    labels: Annotated[MaybeUserPath, Decides.IMAGES] = Field(
        default=None,
        validate_default=True,
        description="table of the labels, if DATA is a folder without class folders",
    )
    architecture: Annotated[Architecture, Decides.LEARNING] = Field(
        default="resnet50",
        validate_default=True,
        description="network to fine-tune: a name of torchvision's (convnext_tiny), or timm:NAME (an extra)",
    )
    weights: Annotated[Weights, Decides.START] = Field(
        default="IMAGENET1K_V1",
        validate_default=True,
        description="a name of torchvision's, pretrained (timm's), none (random), or a file with a state dict",
    )
    accept_license: Annotated[bool, Decides.RECORDS] = Field(
        default=False, description="use published weights also if their license restricts what they may be used for"
    )
    start_from: Annotated[MaybeTextPath, Decides.START] = Field(
        default=None,
        validate_default=True,
        description="continue this model (OUTPUT/model): its network, preprocessing and known classes",
    )
    epochs: Annotated[int, Decides.LENGTH] = Field(
        default=3, ge=1, le=10_000, description="passes over the training images"
    )
    batch_size: Annotated[int, Decides.LEARNING] = Field(
        default=32, ge=1, le=65_536, description="images per optimizer step"
    )
    learning_rate: Annotated[float, Decides.LEARNING] = Field(
        default=0.005, gt=0, le=100, description="learning rate of the head"
    )
    momentum: Annotated[float, Decides.LEARNING] = Field(default=0.9, ge=0, lt=1, description="momentum of SGD")
    weight_decay: Annotated[float, Decides.LEARNING] = Field(
        default=0.0, ge=0, le=1, description="L2 penalty with SGD, decoupled weight decay with AdamW"
    )
    freeze: Annotated[Freeze, Decides.LEARNING] = Field(
        default="head",
        validate_default=True,
        description="head trains only the head, last_stage also the last stage, none all; or the first stage to train",
    )
    backbone_learning_rate: Annotated[float | None, MaybeText, Decides.LEARNING] = Field(
        default=None,
        gt=0,
        le=100,
        description="learning rate of trained backbone stages (default: learning_rate / 50)",
    )
    layer_decay: Annotated[float, Decides.LEARNING] = Field(
        default=1.0, gt=0, le=1, description="factor between the learning rates of each stage and the stage before it"
    )
    optimizer: Annotated[OptimizerName, Decides.LEARNING] = Field(
        default="sgd", description="sgd (with momentum) or adamw"
    )
    schedule: Annotated[Schedule, Decides.LEARNING] = Field(
        default="auto", description="learning-rate schedule; auto is constant if only the head is trained, else cosine"
    )
    warmup_epochs: Annotated[float | None, MaybeText, Decides.LEARNING] = Field(
        default=None,
        ge=0,
        le=10_000,
        description="epochs of learning-rate warm-up (default: 0 with a constant schedule, else a tenth of all epochs)",
    )
    loss: Annotated[str, BeforeValidator(import_path.own_loss), Decides.LEARNING] = Field(
        default=import_path.DEFAULT_LOSS, description="training loss: cross_entropy, or one of your own, as MODULE:NAME"
    )
    sampler: Annotated[str, BeforeValidator(import_path.own_sampler), Decides.LEARNING] = Field(
        default=import_path.DEFAULT_SAMPLER,
        description="order of the training images: shuffle, or a function of your own, as MODULE:NAME",
    )
    metrics: Annotated[str, BeforeValidator(import_path.own_metrics), Decides.RECORDS] = Field(
        default=import_path.NO_METRICS,
        description="metrics of your own on the validation images, as MODULE:NAME, separated by commas",
    )
    label_smoothing: Annotated[float, Decides.LEARNING] = Field(
        default=0.0, ge=0, lt=1, description="share of each target that is spread over all classes"
    )
    class_weights: Annotated[ClassWeights, Decides.LEARNING] = Field(
        default="none", description="balanced weights images inversely to the frequency of their class"
    )
    augment: Annotated[Augment, Decides.LEARNING] = Field(
        default="auto",
        description=(
            "crop: new random crops and flips in each epoch; flip: the plain crop and its mirror image in turn; "
            "auto is none for head-only training, else crop"
        ),
    )
    mixup: Annotated[float, Decides.LEARNING] = Field(
        default=0.0, ge=0, le=10, description="alpha of mixup, which blends pairs of images; 0 turns it off"
    )
    ema: Annotated[float, Decides.LEARNING] = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="decay of the moving average of the weights that is saved; 0 turns it off",
    )
    patience: Annotated[int | None, MaybeText, Decides.LENGTH] = Field(
        default=None, ge=1, le=10_000, description="stop after this many epochs without improvement"
    )
    clip_norm: Annotated[float | None, MaybeText, Decides.LEARNING] = Field(
        default=None, gt=0, description="maximum gradient norm; larger gradients are scaled down"
    )
    gradient_accumulation_steps: Annotated[int, Decides.LEARNING] = Field(
        default=1,
        ge=1,
        le=4_096,
        description="parts in which a batch is computed, to save memory; must divide batch_size",
    )
    activation_checkpointing: Annotated[bool, Decides.SPEED] = Field(
        default=False, description="recompute activations of the trained stages in the backward pass, to save memory"
    )
    batch_norm: Annotated[BatchNorm, Decides.LEARNING] = Field(
        default="auto",
        description="batch-norm statistics of trained stages; auto is fixed, or trained if the weights are random",
    )
    head: Annotated[Head, Decides.LEARNING] = Field(
        default="standardized",
        description="standardized scales features before the linear layer, whitened decorrelates them too",
    )
    objective: Annotated[Objective, Decides.CHOICE] = Field(
        default="valid_loss", description="metric that selects the best epoch"
    )
    seed: Annotated[int, Decides.LEARNING] = Field(
        default=0, ge=0, lt=2**63, description="seed of the head and of the order of images"
    )
    views: Annotated[int, Decides.LEARNING] = Field(
        default=1,
        ge=1,
        le=1_000,
        description="views of each image: epoch e trains on view e mod VIEWS, and view 0 is the plain crop",
    )
    view_seed: Annotated[int, Decides.LEARNING] = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="seed of the crops of views 1 and up; these depend on it, the view and the image's content",
    )
    on_bad_image: Annotated[OnBadImage, Decides.IMAGES] = Field(
        default="error", description="stop at an unreadable image, or skip and count it"
    )
    valid_share: Annotated[float, Decides.IMAGES] = Field(
        default=0.15, gt=0, lt=1, description="share of images for validation if the folder has no splits"
    )
    test_share: Annotated[float, Decides.IMAGES] = Field(
        default=0.15, ge=0, lt=1, description="share of images for testing if the folder has no splits"
    )
    split_seed: Annotated[int, Decides.IMAGES] = Field(default=0, ge=0, lt=2**63, description="seed of that split")
    feature_cache: Annotated[bool, Decides.SPEED] = Field(
        default=True, description="compute backbone features once and cache them for later runs"
    )
    feature_store: Annotated[FeatureStorePlace, Decides.RECORDS] = Field(
        default=None,
        validate_default=True,
        description="where features are stored: a folder, or s3://BUCKET/PREFIX (default: below the cache folder)",
    )
    dct_scaling: Annotated[bool, Decides.LEARNING] = Field(
        default=False,
        description="decode JPEGs that are far too large at 1/2 to 1/8 size, which changes pixels slightly",
    )
    device_decoding: Annotated[bool, Decides.LEARNING] = Field(
        default=False,
        description="decode and crop plain JPEGs on a CUDA device with nvJPEG, whose pixels differ slightly",
    )
    decoded_cache: Annotated[bool, Decides.LEARNING] = Field(
        default=False,
        description="cache decoded images on disk, for runs that pass them through the network in every epoch",
    )
    verify_files: Annotated[bool, Decides.SPEED] = Field(
        default=False,
        description="read all image files again; by default those with the same path, size, times and inode aren't",
    )
    cache_dir: Annotated[MaybeOutputPath, Decides.RECORDS] = Field(
        default=None, validate_default=True, description="folder of the caches (default: the platform's)"
    )
    output: Annotated[OutputPath, Decides.RECORDS] = Field(
        default=Path("runs/train"),
        validate_default=True,
        description="folder for the model, the history and the report",
    )
    checkpoints: Annotated[bool, Decides.RECORDS] = Field(
        default=True, description="save the full state after each epoch in OUTPUT/checkpoints"
    )
    resume: Annotated[bool, Decides.RECORDS] = Field(
        default=False, description="resume from the last checkpoint in the output folder, if there is one"
    )
    device: Annotated[Device, Decides.SPEED] = Field(default="auto", description="compute device")
    precision: Annotated[TrainingPrecision, Decides.LEARNING] = Field(
        default="auto",
        description="auto uses bf16 where the hardware is faster in it; int8 needs engine=openvino",
    )
    engine: Annotated[Engine, Decides.LEARNING] = Field(
        default="torch", description="what computes the frozen backbone; openvino (an extra) is faster on some CPUs"
    )
    max_accuracy_drop: Annotated[float, Decides.RECORDS] = Field(
        default=0.01,
        gt=0,
        lt=1,
        description="int8 is refused if it costs more validation accuracy (0 to 1)",
    )
    workers: Annotated[int | None, MaybeText, Decides.SPEED] = Field(
        default=None, ge=0, le=256, description="DataLoader workers (default: chosen for this machine)"
    )
    chunk_size: Annotated[int, Decides.SPEED] = Field(
        default=32, ge=1, le=4_096, description="images per forward pass through the frozen backbone"
    )
    pin_memory: Annotated[bool, Decides.SPEED] = Field(
        default=True, description="copy images to the GPU from pinned memory; no effect on other devices"
    )
    channels_last: Annotated[bool, Decides.SPEED] = Field(
        default=True, description="store images in channels-last memory format"
    )
    compile_network: Annotated[bool, Decides.SPEED] = Field(
        default=False,
        description="compile the frozen backbone with torch.compile, which takes up to a minute in each run",
    )
    deterministic: Annotated[bool, Decides.SPEED] = Field(
        default=False, description="make results repeat bit for bit, also on a GPU, at some cost in speed"
    )
    profile: Annotated[Profiling, Decides.RECORDS] = Field(
        default="timers",
        description="what to record for profiling: timers costs next to nothing, full also traces operators",
    )
    log_to: Annotated[LogTo, Decides.RECORDS] = Field(
        default="none",
        validate_default=True,
        description="also log to tensorboard, mlflow, or both (separated by a comma)",
    )
    mlflow_uri: Annotated[str | None, BeforeValidator(checked_mlflow_uri), MaybeText, Decides.RECORDS] = Field(
        default=None, description="MLflow tracking server, sqlite:///FILE or SageMaker ARN (default: MLflow's own)"
    )
    mlflow_experiment: Annotated[str | None, MaybeText, Decides.RECORDS] = Field(
        default=None, description="MLflow experiment (default: MLFLOW_EXPERIMENT_NAME, or breedclf)"
    )
    min_confidence: Annotated[float | None, MaybeText, Decides.RECORDS] = Field(
        default=None, gt=0, lt=1, description="predictions below this probability count as unknown"
    )
    calibration: Annotated[bool, Decides.RECORDS] = Field(
        default=True, description="divide the saved model's scores by a temperature, so that probabilities are honest"
    )
    feature_bank: Annotated[bool, Decides.RECORDS] = Field(
        default=True, description='save features of training images with the model, to answer "none of these" by'
    )

    @property
    def loggers(self) -> tuple[str, ...]:
        """The logger names in `log_to`."""
        return () if self.log_to == "none" else tuple(self.log_to.split(","))

    @property
    def own_code(self) -> dict[str, import_path.ImportPath]:
        """Where the code of your own is that the settings name, by its role: `loss`, `sampler`, `metric top2`.

        Example:
            >>> TrainingConfig(data="x", loss="mycode:focal").own_code
            {'loss': ImportPath(source='mycode', name='focal')}
        """
        return import_path.paths_in({"loss": self.loss, "sampler": self.sampler, "metrics": self.metrics})

    @property
    def keeps_statistics(self) -> bool:
        """Whether batch-norm layers of trained stages keep the statistics of the pretrained weights.

        Example:
            >>> TrainingConfig(data="x").keeps_statistics, TrainingConfig(data="x", weights="none").keeps_statistics
            (True, False)
        """
        return self.weights != "none" if self.batch_norm == "auto" else self.batch_norm == "fixed"

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Self:
        if self.start_from is not None and "weights" not in self.model_fields_set:
            self.__dict__["weights"] = START_MODEL  # not counted as set: without start_from it is the default again
        elif self.architecture.startswith(TIMM) and "weights" not in self.model_fields_set:
            self.__dict__["weights"] = "pretrained"
        if (problem := conflict(self)) is not None:
            raise ValueError(problem)
        return self
