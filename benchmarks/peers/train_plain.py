"""The loop that tutorials write; in bf16 the frozen part stays in eval mode, which is as quick as a plain loop gets."""

from __future__ import annotations

import torch

from benchmarks.peers.training import Judge, Task, Train, run


def prepare(task: Task) -> Train:
    network, loaders = task.network(), {split: task.loader(split) for split in ("train", "valid")}
    optimizer = task.optimizer(network)

    def forward(pictures: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=task.bf16):
            return network(pictures).float()

    def train() -> Judge:
        for _ in range(task.epochs):
            network.train(task.trainable == "all" or not task.bf16)
            for pictures, targets in loaders["train"]:
                loss = torch.nn.functional.cross_entropy(forward(pictures), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            network.eval()
            with torch.inference_mode():
                for pictures, targets in loaders["valid"]:
                    torch.nn.functional.cross_entropy(forward(pictures), targets).item()
        return lambda: task.judge(network)

    return train


if __name__ == "__main__":
    run(prepare)
