"""timm's training: its loaders, optimizer, schedule, loss and checkpoints, put together as in its training script.

The script belongs to timm's repository, not to its package, so this is a loop of our own around the same parts, for
these arguments of the script: `--no-aug --smoothing 0 --opt sgd --momentum 0.9 --weight-decay 0 --sched cosine
--warmup-epochs 0 --workers 2`, and `--amp --amp-dtype bfloat16` for bf16. The script trains all layers; for the head
alone, the others have no gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.data import create_dataset, create_loader, resolve_data_config
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, CheckpointSaver, accuracy

from benchmarks.peers.training import Judge, Task, Train, run
from benchmarks.plain_loop import WORKERS


def prepare(task: Task) -> Train:
    network: Any = task.network()
    data = resolve_data_config({}, model=network) if hasattr(network, "pretrained_cfg") else {}
    loaders = {split: loader(task, split, data) for split in ("train", "valid")}
    optimizer = create_optimizer_v2(network, opt="sgd", lr=task.learning_rate, momentum=0.9, weight_decay=0.0)
    schedule, epochs = create_scheduler_v2(optimizer, "cosine", task.epochs, warmup_epochs=0, cooldown_epochs=0)
    saver = CheckpointSaver(network, optimizer, checkpoint_dir=str(task.scratch), recovery_dir=str(task.scratch))

    def train() -> Judge:
        for epoch in range(epochs):
            train_epoch(task, network, loaders["train"], optimizer)
            top1 = validate(task, network, loaders["valid"])
            schedule.step(epoch + 1, top1)
            saver.save_checkpoint(epoch, metric=top1)
        return lambda: task.judge(network)

    return train


def loader(task: Task, split: str, data: dict[str, Any]) -> Any:
    own = {key: data[key] for key in ("mean", "std", "interpolation", "crop_pct") if key in data}
    return create_loader(
        create_dataset("", root=str(task.data), split=split),
        input_size=(3, 224, 224),
        batch_size=task.batch,
        is_training=split == "train",
        no_aug=True,
        num_workers=WORKERS,
        device=torch.device("cpu"),
        pin_memory=False,
        **own,
    )


def autocast(task: Task) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=task.bf16)


def train_epoch(task: Task, network: torch.nn.Module, images: Any, optimizer: torch.optim.Optimizer) -> None:
    network.train()
    losses = AverageMeter()
    for inputs, targets in images:
        with autocast(task):
            loss = torch.nn.functional.cross_entropy(network(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.update(loss.item(), len(inputs))


@torch.no_grad()
def validate(task: Task, network: torch.nn.Module, images: Any) -> float:
    network.eval()
    top1 = AverageMeter()
    for inputs, targets in images:
        with autocast(task):
            outputs = network(inputs)
        top1.update(accuracy(outputs, targets)[0].item(), len(inputs))
    return float(top1.avg)


if __name__ == "__main__":
    run(prepare)
