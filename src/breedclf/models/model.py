"""A model to fine-tune: pretrained weights cut into a frozen trunk and a module that is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from breedclf.config import TrainingConfig
from breedclf.data.sources import FeatureSource
from breedclf.models.backbones.backbone import Backbone, StateDict
from breedclf.models.head import MOMENTS_BATCH, ScaledLinear, Scaling, new_head, spread
from breedclf.models.tail import Tail, tail_input_shape, trunk
from breedclf.models.weights import PretrainedWeights
from breedclf.models.whitening import whitening_of
from breedclf.runtime.device import Compute

_MOST_FOR_MOMENTS = 2_048


@dataclass(frozen=True)
class Model:
    """The pretrained weights, and the module that is trained: the head alone, or a tail of stages that ends with it.

    The module maps features [N, D], or the trunk's output [N, C, H, W], to scores [N, classes].
    """

    pretrained: PretrainedWeights
    freeze: str
    module: ScaledLinear | Tail

    @property
    def head(self) -> ScaledLinear:
        """The classification layer."""
        return self.module.head if isinstance(self.module, Tail) else self.module

    @property
    def backbone(self) -> Backbone:
        """The network without its head, for images of the size that is trained on."""
        return self.pretrained.backbone.at(self.pretrained.preprocessing.crop_px)

    @property
    def frozen_up_to(self) -> str:
        """`head`, or the first stage that is trained."""
        return next(iter(self.backbone.trained_stages(self.freeze)), "head")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the module's input for one image."""
        if self.freeze == "head":
            return (self.backbone.features,)
        return tail_input_shape(self.backbone, self.freeze, self.pretrained.preprocessing.crop_px)

    def trunk(self, compute: Compute) -> nn.Module:
        """Build the frozen trunk: normalized images [N, 3, H, W] to the module's input."""
        return trunk(self.backbone, self.pretrained.state, self.freeze, compute)

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        """The head's input: the module's inputs [N, ...] to features [N, D]."""
        return self.module.features(inputs) if isinstance(self.module, Tail) else inputs

    def scale_by(self, source: FeatureSource, batch_size: int) -> None:
        """Let the head standardize, and whiten, features by their moments over a source of the module's inputs.

        Raises:
            WeightsError: features are NaN or infinite.
        """
        is_tail = isinstance(self.module, Tail)
        batch_size, most = (batch_size, _MOST_FOR_MOMENTS) if is_tail else (MOMENTS_BATCH, None)
        if is_tail:
            self.module.eval()
        with torch.inference_mode():
            scaling = Scaling.of(source, batch_size, features=self.features, most=most)
            whitening = None
            if self.head.whitening is not None:
                rows = spread(len(source.targets), most)
                whitening = whitening_of(source, rows, batch_size, lambda inputs: scaling(self.features(inputs)))
        self.head.use(scaling, whitening)

    @contextmanager
    def at(self, trained: StateDict) -> Iterator[None]:
        """Within it the module has these weights, for inference; its own are restored afterwards."""
        own = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        self.module.load_state_dict(trained)
        self.module.eval()
        try:
            yield
        finally:
            self.module.load_state_dict(own)

    def network_state(self) -> StateDict:
        """The whole network's state dict with the module's weights; the scaling is folded into the head."""
        module = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        stages = {name.removeprefix("body."): value for name, value in module.items() if name.startswith("body.")}
        prefix = self.backbone.head_prefix
        head = {prefix + name: value for name, value in self.head.folded().state_dict().items()}
        return self.pretrained.state | stages | head


def build_model(config: TrainingConfig, pretrained: PretrainedWeights, *, classes: int, compute: Compute) -> Model:
    """The module to train on `pretrained`, on the device, before its first step."""
    head = new_head(pretrained.backbone.features, classes, config)
    module: ScaledLinear | Tail = head
    if config.freeze != "head":
        module = Tail.of(
            pretrained.backbone.at(pretrained.preprocessing.crop_px),
            pretrained.state,
            config.freeze,
            head,
            fixed_statistics=config.keeps_statistics,
            compute=compute,
            checkpointing=config.activation_checkpointing,
        )
    return Model(pretrained, config.freeze, module.to(compute.device))
