"""The network cut in two: a frozen trunk, optimized for inference, and a tail of stages that is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, cast

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from breedclf.models.backbones.backbone import Backbone, StateDict
from breedclf.models.backbones.stages import NECK, Segment
from breedclf.models.folded_training import FoldedInterpreter
from breedclf.models.head import ScaledLinear
from breedclf.models.network import for_inference, in_layout
from breedclf.runtime.device import Compute


def trunk(backbone: Backbone, state: StateDict, freeze: str, compute: Compute) -> nn.Module:
    """The frozen stages: normalized images [N, 3, H, W] to the tail's input; batch norms are folded."""
    network = backbone.headless(state)
    if freeze == "head":
        return for_inference(network, compute)
    frozen = _frozen(backbone, freeze)
    return for_inference(fx.GraphModule(network, _joined(frozen)), compute) if frozen else nn.Identity()


def tail_input_shape(backbone: Backbone, freeze: str, crop_px: int) -> tuple[int, ...]:
    """Shape of the trunk's output for one image of `crop_px` pixels a side, without the batch."""
    frozen = _frozen(backbone.at(crop_px), freeze)
    return frozen[-1].output_shape if frozen else (3, crop_px, crop_px)


class Tail(nn.Module):
    """The trained stages and the head: the trunk's output [N, ...] to scores [N, classes].

    With `bf16` the stages compute in bfloat16, while weights, pooling and head stay in float32. With `fixed_statistics`
    the batch norms keep the statistics of the pretrained weights, in training and in inference: an image's scores then
    don't depend on the rest of its batch, and a batch computed in parts or by several processes gives the same result.
    With `checkpointing` only the outputs of stages are kept for the backward pass, and the rest is recomputed.
    """

    def __init__(
        self,
        body: nn.Module,
        segments: Sequence[Segment],
        head: ScaledLinear,
        *,
        fixed_statistics: bool,
        bf16: bool,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.body = body
        self.head = head
        self.segments: tuple[Segment, ...] = tuple(segments)
        self.fixed_statistics = fixed_statistics
        self.bf16 = bf16
        self.checkpointing = checkpointing
        in_layout(self, torch.channels_last)

    @classmethod
    def of(
        cls,
        backbone: Backbone,
        state: StateDict,
        freeze: str,
        head: ScaledLinear,
        *,
        fixed_statistics: bool,
        compute: Compute,
        checkpointing: bool = False,
    ) -> Self:
        """A tail with a copy of these weights."""
        trained = backbone.trained_stages(freeze)
        segments = [each for each in backbone.segments if each.name in (*trained, NECK)]
        own = {
            name: tensor.clone() for name, tensor in state.items() if any(segment.owns(name) for segment in segments)
        }
        network = backbone.headless(state | own)
        body = network if segments[0].graph is None else fx.GraphModule(network, _joined(segments))
        bf16 = compute.precision == "bf16"
        return cls(body, segments, head, fixed_statistics=fixed_statistics, bf16=bf16, checkpointing=checkpointing)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.features(inputs))
        return scores

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        """The head's input: float32 [N, D]."""
        outputs = inputs.to(dtype=torch.bfloat16 if self.bf16 else torch.float32)
        if outputs.ndim == 4:
            outputs = outputs.contiguous(memory_format=torch.channels_last)
        for segment in self.segments:
            in_bf16 = self.bf16 and segment.name != NECK
            with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=in_bf16):
                outputs = self._outputs(segment, outputs if in_bf16 else outputs.float())
        return outputs.float()

    def _outputs(self, segment: Segment, inputs: torch.Tensor) -> torch.Tensor:
        def run(inputs: torch.Tensor) -> torch.Tensor:
            if segment.graph is None:
                whole: torch.Tensor = self.body(inputs)
                return whole
            folds = self.fixed_statistics and inputs.device.type == "cpu"
            interpreter = FoldedInterpreter if folds else fx.Interpreter
            outputs: torch.Tensor = interpreter(self.body, graph=segment.graph).run(inputs)
            return outputs

        if self.checkpointing and torch.is_grad_enabled() and segment.name != NECK:
            recomputed: torch.Tensor = checkpoint(run, inputs, use_reentrant=False)
            return recomputed
        return run(inputs)

    def stage_of(self, name: str) -> str:
        """The stage, or `head`, that a parameter of this module belongs to; the neck belongs to the last stage."""
        path = name.removeprefix("body.")
        if path == name:
            return "head"
        stages = [segment for segment in self.segments if segment.name != NECK]
        return next((each.name for each in stages if each.owns(path)), stages[-1].name)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.fixed_statistics:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


def _frozen(backbone: Backbone, freeze: str) -> list[Segment]:
    trained = backbone.trained_stages(freeze)
    return [each for each in backbone.segments if each.name not in (*trained, NECK)]


def _joined(segments: Sequence[Segment]) -> fx.Graph:
    """The graph of consecutive segments."""
    graph = fx.Graph()
    value = graph.placeholder("inputs")
    for segment in segments:
        assert segment.graph is not None
        copies: dict[fx.Node, fx.node.Argument] = {}
        for node in segment.graph.nodes:
            if node.op == "placeholder":
                copies[node] = value
            elif node.op == "output":
                value = cast(fx.Node, copies[node.args[0]])
            else:
                copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(value)
    return graph
