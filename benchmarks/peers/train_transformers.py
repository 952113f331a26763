"""Hugging Face's Trainer with the same network, wrapped to return its loss, as the Trainer requires."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from benchmarks.peers.training import Judge, Task, Train, run
from benchmarks.plain_loop import WORKERS


class WithLoss(torch.nn.Module):
    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs = self.network(images)
        return {"loss": torch.nn.functional.cross_entropy(outputs, labels), "logits": outputs}


def collated(samples: list[tuple[torch.Tensor, int]]) -> dict[str, torch.Tensor]:
    images, labels = zip(*samples, strict=True)
    return {"images": torch.stack(images), "labels": torch.tensor(labels)}


def prepare(task: Task) -> Train:
    model = WithLoss(task.network())
    settings: dict[str, Any] = {"bf16": True} if task.bf16 else {}
    arguments = TrainingArguments(
        output_dir=str(task.scratch),
        num_train_epochs=task.epochs,
        per_device_train_batch_size=task.batch,
        per_device_eval_batch_size=task.batch,
        learning_rate=task.learning_rate,
        lr_scheduler_type="constant",
        dataloader_num_workers=WORKERS,
        remove_unused_columns=False,
        eval_strategy="epoch",
        report_to="none",
        use_cpu=True,
        **settings,
    )
    trainer = Trainer(
        model,
        arguments,
        data_collator=collated,
        train_dataset=task.images("train"),
        eval_dataset=task.images("valid"),
        optimizers=(task.optimizer(model), None),
    )

    def train() -> Judge:
        trainer.train()
        return lambda: task.judge(model.network)

    return train


if __name__ == "__main__":
    run(prepare)
