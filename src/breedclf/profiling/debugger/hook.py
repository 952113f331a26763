"""smdebug's hook for breedclf training runs: saves losses and reductions of gradients and weights."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args

import torch
from torch import nn
from torch.optim import Optimizer

from breedclf.config import nearest
from breedclf.errors import ConfigError
from breedclf.files.paths import StrPath
from breedclf.profiling.debugger.requirements import load_smdebug
from breedclf.profiling.tensor_watch import SNAPSHOT_EVERY
from breedclf.runtime.timers import StepTimer
from breedclf.training.hooks import TrainingHook

DebuggerCollection = Literal["losses", "gradients", "weights", "updates", "activations", "inputs"]
COLLECTIONS: tuple[DebuggerCollection, ...] = ("losses", "gradients", "weights", "updates")
LOSS_NAME = "CrossEntropyLoss"  # smdebug's rules find losses by such a name
UPDATE, MOVE = "update/", "move/"
_OWN = f"(?!gradient|{UPDATE}|{MOVE})"
_ACTIVATIONS = {nn.ReLU: ("relu_output", "output"), nn.Tanh: ("tanh_input", "input")}
_ACTIVATIONS |= {nn.Sigmoid: ("sigmoid_input", "input")}


class DebuggerHook(TrainingHook):
    """A training hook that saves tensors as smdebug does, for `read_trial` or for smdebug's own analysis.

    Args:
        folder: where to write the trial; it must be empty or not exist.
        collections: what to save. `losses` at every step; the rest at every `every`-th training step: `gradients`,
            `weights` (including biases), `updates` (how far weights moved in this step, and since the previous saved
            step) and `inputs` as reductions (mean, standard deviation; mean, max and min of absolute values);
            `activations` (of ReLU, tanh and sigmoid) as whole tensors, which takes disk space.
        every: interval between saved steps, in training steps.
        whole: also save gradients and weights as whole tensors, for your own analyses.

    Only the network that is trained is watched: with a frozen backbone, that is the head.

    Raises:
        MissingExtraError: smdebug isn't installed, or numpy or protobuf are incompatible with it.
        ConfigError: the folder isn't empty, or a collection is unknown.

    Example:
        >>> with DebuggerHook("runs/trial") as hook:  # doctest: +SKIP
        ...     Trainer(config).fit(hooks=[hook])
        >>> check(read_trial("runs/trial"))  # doctest: +SKIP
    """

    def __init__(
        self,
        folder: StrPath,
        *,
        collections: Collection[DebuggerCollection] = COLLECTIONS,
        every: int = SNAPSHOT_EVERY,
        whole: bool = False,
    ) -> None:
        for name in collections:
            if name not in (known := get_args(DebuggerCollection)):
                raise ConfigError(f"unknown collection {name!r}: {nearest(name, known)}")
        if every < 1:
            raise ConfigError(f"every={every}: must be at least 1, which saves every step")
        self.folder: Path = Path(folder)
        if self.folder.exists() and any(self.folder.iterdir()):
            raise ConfigError(f"{self.folder} is not empty: give smdebug a folder of its own")
        self.timer = self._listener = _Listener(self.folder, frozenset(collections), every, whole)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._listener.close()


class _Listener(StepTimer):
    """Drives smdebug's hook from the training's timer calls, with removable hooks in the network."""

    def __init__(self, folder: Path, collections: frozenset[str], every: int, whole: bool) -> None:
        self._smd = load_smdebug("smdebug.pytorch")
        self._collections, self._every = collections, every
        names = collections - {"activations"} | {
            name for name, _ in _ACTIVATIONS.values() if "activations" in collections
        }
        self._hook = self._quietly(self._smd.Hook)(
            out_dir=str(folder),
            include_collections=[*names, *({"biases"} if "weights" in names else ())],
            save_config=self._save_config(every),
            reduction_config=self._reductions(whole),
        )
        self._hook.get_collection("losses").save_config = self._save_config(1)
        for name, pattern in (("weights", "weight"), ("biases", "bias")):
            # as smdebug's own patterns, but without updates
            self._hook.get_collection(name).include_regex = [f"^{_OWN}.*{pattern}"]
        if "updates" in names:
            updates = self._hook.get_collection("updates")
            updates.include([f"^{UPDATE}", f"^{MOVE}"])
            updates.reduction_config = self._reductions(whole=False)
        self._root: nn.Module | None = None
        self._weights: dict[str, nn.Parameter] = {}
        self._before: dict[str, torch.Tensor] = {}
        self._last: dict[str, torch.Tensor] = {}
        self._handles: list[Any] = []
        self._training = False
        self._step = 0
        self._open = True

    def watch(self, module: nn.Module, optimizer: Optimizer | None = None) -> None:
        """Watch the first network that is trained."""
        if optimizer is None or self._root is not None:
            return
        self._root = module
        root = type(module).__name__
        for name, layer in module.named_modules():
            layer._module_name = name if layer is not module else root  # read by smdebug
            self._handles.append(layer.register_forward_hook(self._quietly(self._hook.forward_hook)))
            self._collect_activation(layer)
        if "inputs" in self._collections:
            self._hook.get_collection("inputs").include(f"^{re.escape(root)}_input_")
        self._handles.append(module.register_forward_pre_hook(self._quietly(self._hook.forward_pre_hook)))
        for name, weight in module.named_parameters():
            if weight.requires_grad:
                self._weights[f"{root}_{name}"] = weight
                save = self._quietly(self._hook.backward_hook(f"{root}_{name}"))
                self._handles.append(weight.register_hook(save))  # type: ignore[no-untyped-call]

    def phase(self, name: str, epoch: int = 0) -> None:
        del epoch
        self._training = name == "train"
        if name in ("train", "valid"):
            self._hook.set_mode(self._smd.modes.TRAIN if self._training else self._smd.modes.EVAL)

    def loss(self, value: torch.Tensor) -> None:
        self._record(LOSS_NAME, value)

    def lap(self, part: str) -> None:
        if not (self._training and self._root is not None and self._step % self._every == 0):
            return
        if "updates" in self._collections and part in ("backward", "optimizer"):
            with torch.no_grad():
                self._store_weights() if part == "backward" else self._record_updates()

    def step(self, images: int) -> None:
        del images
        self._step += self._training

    def close(self) -> None:
        """Write pending data, and remove all hooks from the network."""
        for handle in self._handles:
            handle.remove()
        if self._root is not None:
            for layer in self._root.modules():
                del layer._module_name
            self._handles, self._root = [], None
        if self._open:
            self._open = False
            self._quietly(self._hook.close)()

    def _store_weights(self) -> None:
        self._before = {name: weight.detach().clone() for name, weight in self._weights.items()}

    def _record_updates(self) -> None:
        for name, weight in self._weights.items():
            self._record(UPDATE + name, weight - self._before[name])
            if name in self._last:
                self._record(MOVE + name, weight - self._last[name])
            self._last[name] = weight.detach().clone()

    def _record(self, name: str, value: torch.Tensor) -> None:
        # smdebug saves numpy arrays, and numpy has no bf16
        self._quietly(self._hook.record_tensor_value)(name, value.detach().float())

    def _collect_activation(self, layer: nn.Module) -> None:
        for kind, (collection, side) in _ACTIVATIONS.items():
            if "activations" in self._collections and isinstance(layer, kind):
                chosen = self._hook.get_collection(collection)
                chosen.include(rf"^{re.escape(str(layer._module_name))}_{side}_\d")
                chosen.reduction_config = self._smd.ReductionConfig(save_raw_tensor=True)

    def _save_config(self, every: int) -> Any:
        modes, one = self._smd.modes, load_smdebug("smdebug.core.save_config").SaveConfigMode
        never = one(end_step=0)
        config = dict.fromkeys((modes.EVAL, modes.PREDICT, modes.GLOBAL), never)
        return self._smd.SaveConfig({**config, modes.TRAIN: one(save_interval=every)})

    def _reductions(self, whole: bool) -> Any:
        return self._smd.ReductionConfig(
            reductions=["mean", "std"], abs_reductions=["mean", "max", "min"], save_shape=True, save_raw_tensor=whole
        )

    def _quietly(self, call: Any) -> Any:
        """Suppress warnings: smdebug uses deprecated names of numpy and deprecated ways to import."""

        def quiet(*arguments: Any, **named: Any) -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return call(*arguments, **named)

        return quiet
