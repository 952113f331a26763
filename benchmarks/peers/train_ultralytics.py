"""Ultralytics' classification trainer with the same network, and its own augmentation, schedule and checkpoints."""

from __future__ import annotations

import torch
from ultralytics.models.yolo.classify.train import ClassificationTrainer
from ultralytics.nn.tasks import ClassificationModel

from benchmarks.peers.training import Judge, Task, Train, run
from benchmarks.plain_loop import WORKERS


def prepare(task: Task) -> Train:
    network = task.network()
    network.f, network.i, network.type, network.np = -1, 0, task.network_name, 0  # attributes that its models require

    class OurNetwork(ClassificationTrainer):
        def setup_model(self) -> None:
            self.model = ClassificationModel("yolov8n-cls.yaml", nc=len(task.images("train").classes), verbose=False)
            self.model.model, self.model.save = torch.nn.Sequential(network), []

    frozen = [f"0.{name}" for name, value in network.named_parameters() if not value.requires_grad]
    trainer = OurNetwork(
        overrides={
            "model": task.network_name,
            "data": str(task.data),
            "epochs": task.epochs,
            "batch": task.batch,
            "imgsz": 224,
            "optimizer": "SGD",
            "lr0": task.learning_rate,
            "momentum": 0.9,
            "workers": WORKERS,
            "freeze": frozen,
            "device": "cpu",
            "project": str(task.scratch),
            "plots": False,
        }
    )

    def train() -> Judge:
        trainer.train()
        return lambda: task.judge(network)

    return train


if __name__ == "__main__":
    run(prepare)
