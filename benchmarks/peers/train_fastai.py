"""fastai's Learner with its own data loading and no augmentation; its mixed precision requires CUDA."""

from __future__ import annotations

from functools import partial

from fastai.vision.all import (
    SGD,
    CrossEntropyLossFlat,
    ImageDataLoaders,
    Learner,
    Normalize,
    Resize,
)

from benchmarks.networks import mean_and_std
from benchmarks.peers.training import Judge, Task, Train, run
from benchmarks.plain_loop import WORKERS


def prepare(task: Task) -> Train:
    network = task.network()
    loaders = ImageDataLoaders.from_folder(
        task.data,
        item_tfms=Resize(224),
        batch_tfms=[Normalize.from_stats(*mean_and_std(task.network_name))],
        bs=task.batch,
        num_workers=WORKERS,
    )
    learner = Learner(
        loaders, network, loss_func=CrossEntropyLossFlat(), opt_func=partial(SGD, mom=0.9), train_bn=False
    )

    def train() -> Judge:
        learner.fit(task.epochs, task.learning_rate)
        return lambda: task.judge(network)

    return train


if __name__ == "__main__":
    run(prepare)
