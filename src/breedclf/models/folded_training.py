"""Training with batch norms folded into the convolutions before them, while all of their weights are trained.

A batch norm that keeps its statistics multiplies and shifts each channel. The convolution's weights take that over, and
the activations pass through memory once less in each direction. The gradients are those of the weights themselves.
"""

from __future__ import annotations

import torch
from torch import fx, nn

from breedclf.models.folding import called, conv_norm_pairs, is_same_padded, rest_of


class FoldedInterpreter(fx.Interpreter):
    """Runs the graph of a network whose batch norms keep their statistics; equal to the plain graph up to rounding.

    A batch norm stays as it is if it or its convolution has a hook, which must see the module called.
    """

    def __init__(self, network: nn.Module, graph: fx.Graph) -> None:
        super().__init__(network, graph=graph)
        self._layers: dict[fx.Node, tuple[nn.Conv2d, nn.BatchNorm2d]] = {}
        self._convs: set[fx.Node] = set()
        for before, node in conv_norm_pairs(network, graph):
            conv, norm = called(network, before), called(network, node)
            assert isinstance(conv, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            if not (norm.training or is_same_padded(conv) or _has_hooks(conv) or _has_hooks(norm)):
                self._convs.add(before)
                self._layers[node] = conv, norm

    def run_node(self, n: fx.Node) -> object:
        """The value of a node; a convolution passes its input on to the batch norm, which computes both."""
        if n in self._convs:
            return self.env[n.all_input_nodes[0]]
        if n in self._layers:
            conv, norm = self._layers[n]
            return rest_of(norm)(conv_and_norm(self.env[n.all_input_nodes[0]], conv, norm))
        return super().run_node(n)


def conv_and_norm(inputs: torch.Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> torch.Tensor:
    """What a batch norm with fixed statistics makes of a convolution's output, as one convolution."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = torch.rsqrt(norm.running_var + norm.eps)
    scale = scale if norm.weight is None else scale * norm.weight
    mean = norm.running_mean if conv.bias is None else norm.running_mean - conv.bias
    shift = -mean * scale if norm.bias is None else norm.bias - mean * scale
    outputs: torch.Tensor = conv._conv_forward(inputs, conv.weight * scale.reshape(-1, 1, 1, 1), shift)
    return outputs


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)
