"""Lightning's Trainer with a module as in its documentation."""

from __future__ import annotations

import lightning
import torch

from benchmarks.peers.training import Judge, Task, Train, run


class Module(lightning.LightningModule):
    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task
        self.network = task.network()

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        return self.loss(batch)

    def validation_step(self, batch: list[torch.Tensor]) -> None:
        self.log("valid_loss", self.loss(batch))

    def loss(self, batch: list[torch.Tensor]) -> torch.Tensor:
        images, targets = batch
        return torch.nn.functional.cross_entropy(self.network(images), targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.task.optimizer(self.network)


def prepare(task: Task) -> Train:
    module, train_loader, valid_loader = Module(task), task.loader("train"), task.loader("valid")
    trainer = lightning.Trainer(
        max_epochs=task.epochs,
        accelerator="cpu",
        default_root_dir=task.scratch,
        **({"precision": "bf16-mixed"} if task.bf16 else {}),
    )

    def train() -> Judge:
        trainer.fit(module, train_loader, valid_loader)
        return lambda: task.judge(module.network)

    return train


if __name__ == "__main__":
    run(prepare)
