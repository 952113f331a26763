"""The graph of a network's operations, recorded by torch.fx in eval mode; batches may have any size."""

from __future__ import annotations

import inspect
import itertools
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

_ONE_AT_A_TIME = threading.Lock()
_IN_PLACE = frozenset({"setitem", "iadd", "imul", "isub", "itruediv"})


def graph_of(network: nn.Module) -> fx.Graph | None:
    """The operations of a network in eval mode; None if they can't be recorded.

    Modules without children are single operations, and so are batch norms and modules whose own operations depend on
    values.
    """
    if isinstance(network, fx.GraphModule):
        return network.graph
    tracer = _Tracer()
    try:
        with _ONE_AT_A_TIME:
            graph = tracer.trace(network, _defaults(network))
    except Exception:  # noqa: BLE001 - tracing runs the network's own code on placeholders, which may raise anything
        return None
    finally:
        tracer.forget()
    _remove_checks(graph)
    return graph


class _Tracer(fx.Tracer):
    """Records one network. torch.fx patches `nn.Module` meanwhile: what other threads call there isn't recorded."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def forget(self) -> None:
        """Drop the network: a tracer refers to itself, so that its weights would stay until garbage is collected."""
        self.root = nn.Module()
        self.tensor_attrs = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002 - the base class's
        if isinstance(m, (nn.Sequential, nn.ModuleList)):
            return False
        return not any(True for _ in m.children()) or isinstance(m, (_BatchNorm, nn.MultiheadAttention))

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Record the operations of a module or, if they depend on values, the module as one operation."""
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        stack, recorded = self.module_stack.copy(), len(self.graph.nodes)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            self.module_stack = stack
            for node in list(self.graph.nodes)[: recorded - 1 : -1]:
                if node.op != "get_attr":  # which the tracer may use again
                    self.graph.erase_node(node)
            if isinstance(m, (nn.Sequential, nn.ModuleList)):
                raise
            return self.create_proxy("call_module", self.path_of_module(m), args, kwargs)

    def getattr(
        self,
        attr: str,  # noqa: ARG002
        attr_val: Any,
        parameter_proxy_cache: dict[str, Any],
    ) -> Any:
        """Record what reads a parameter or buffer; its shape is a constant, also where it decides what is computed."""
        if not isinstance(attr_val, torch.Tensor) or threading.get_ident() != self._thread:
            return attr_val
        own = itertools.chain(self.root.named_parameters(), self.root.named_buffers())
        name = next((name for name, tensor in own if tensor is attr_val), None)
        if name is None:
            return attr_val
        if name not in parameter_proxy_cache:
            parameter_proxy_cache[name] = _OwnTensor(self.create_node("get_attr", name, (), {}), self, attr_val)
        return parameter_proxy_cache[name]

    def create_arg(self, a: Any) -> fx.node.Argument:
        """Refuse tensors that aren't the network's own: another network with the same graph wouldn't have them."""
        if type(a) is torch.Tensor and not any(a is own for own in self.root.buffers()):
            raise fx.proxy.TraceError("a tensor that is computed while the network is recorded")
        return super().create_arg(a)


class _OwnTensor(fx.Proxy):
    """A parameter or buffer while a network is recorded."""

    def __init__(self, node: fx.Node, tracer: fx.Tracer, tensor: torch.Tensor) -> None:
        super().__init__(node, tracer)
        self._tensor = tensor

    @property
    def shape(self) -> torch.Size:
        return self._tensor.shape

    @property
    def ndim(self) -> int:
        return self._tensor.ndim

    def size(self, dim: int | None = None) -> Any:
        return self._tensor.shape if dim is None else self._tensor.shape[dim]

    def dim(self) -> int:
        return self._tensor.ndim

    def numel(self) -> int:
        return self._tensor.numel()

    def __len__(self) -> int:
        return len(self._tensor)


def _defaults(network: nn.Module) -> dict[str, object]:
    """The values of all arguments of a network's forward pass besides the images."""
    parameters = list(inspect.signature(network.forward).parameters.values())[1:]
    return {each.name: each.default for each in parameters}


def _remove_checks(graph: fx.Graph) -> None:
    """Remove the assertions about shapes and arguments, with what is computed for them only."""
    for node in reversed(graph.nodes):
        if node.op == "call_function" and node.target in (torch._assert, fx._symbolic_trace._assert_is_none):
            graph.erase_node(node)
    graph.eliminate_dead_code(has_effects)
    _images, *others = [node for node in graph.nodes if node.op == "placeholder"]
    for node in others:
        if not node.users:
            graph.erase_node(node)


def has_effects(node: fx.Node) -> bool:
    """Whether an operation does more than return a value, such as to overwrite an input."""
    if node.op in ("placeholder", "output"):
        return True
    name = str(getattr(node.target, "__name__", node.target))
    return name.endswith("_") or name in _IN_PLACE
