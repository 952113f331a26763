"""The graph of a network's operations, recorded by torch.fx in eval mode; batches may have any size."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

_IN_PLACE = frozenset({"setitem", "iadd", "imul", "isub", "itruediv"})


def graph_of(network: nn.Module) -> fx.Graph | None:
    """The operations of a network in eval mode; None if they can't be recorded.

    Modules without children are single operations, and so are batch norms and modules whose own operations depend on
    values.
    """
    if isinstance(network, fx.GraphModule):
        return network.graph
    try:
        graph = _Tracer().trace(network, _defaults(network))
    except Exception:  # noqa: BLE001 - tracing runs the network's own code on placeholders, which may raise anything
        return None
    _remove_checks(graph)
    return graph


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002 - the base class's
        if isinstance(m, (nn.Sequential, nn.ModuleList)):
            return False
        return not any(True for _ in m.children()) or isinstance(m, (_BatchNorm, nn.MultiheadAttention))

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Record the operations of a module or, if they depend on values, the module as one operation."""
        stack, recorded = self.module_stack.copy(), len(self.graph.nodes)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            self.module_stack = stack
            for node in list(self.graph.nodes)[: recorded - 1 : -1]:
                self.graph.erase_node(node)
            if isinstance(m, (nn.Sequential, nn.ModuleList)):
                raise
            return self.create_proxy("call_module", self.path_of_module(m), args, kwargs)


def _defaults(network: nn.Module) -> dict[str, object]:
    """The values of all arguments of a network's forward pass besides the images."""
    parameters = list(inspect.signature(network.forward).parameters.values())[1:]
    return {each.name: each.default for each in parameters}


def _remove_checks(graph: fx.Graph) -> None:
    """Remove the assertions about shapes and arguments, with what is computed for them only."""
    for node in reversed(graph.nodes):
        if node.op == "call_function" and node.target in (torch._assert, fx._symbolic_trace._assert_is_none):
            graph.erase_node(node)
    graph.eliminate_dead_code(_has_effects)
    _images, *others = [node for node in graph.nodes if node.op == "placeholder"]
    for node in others:
        if not node.users:
            graph.erase_node(node)


def _has_effects(node: fx.Node) -> bool:
    """Whether an operation does more than return a value, such as to overwrite an input."""
    if node.op in ("placeholder", "output"):
        return True
    name = str(getattr(node.target, "__name__", node.target))
    return name.endswith("_") or name in _IN_PLACE
