"""Keras 3 with the torch backend. Its networks differ in layout, so weights are random: for speed only."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import torch
from keras import applications

from benchmarks.peers.training import Judge, Task, Train, run


class ChannelsLast(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Images as [224, 224, 3], as Keras expects."""

    def __init__(self, images: torch.utils.data.Dataset[tuple[torch.Tensor, int]]) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)  # type: ignore[arg-type]

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        picture, target = self._images[number]
        return picture.permute(1, 2, 0), target


def prepare(task: Task) -> Train:
    if task.bf16:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    base = {"resnet50": applications.ResNet50, "convnext_tiny": applications.ConvNeXtTiny}[task.network_name](
        weights=None, include_top=False, pooling="avg", input_shape=(224, 224, 3)
    )
    base.trainable = task.trainable == "all"
    classes = len(task.images("train").classes)
    model = keras.Sequential([base, keras.layers.Dense(classes, activation="softmax", dtype="float32")])
    model.compile(
        keras.optimizers.SGD(task.learning_rate, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    loaders = [
        torch.utils.data.DataLoader(ChannelsLast(task.images(split)), task.batch, split == "train", num_workers=2)
        for split in ("train", "valid")
    ]

    def train() -> Judge:
        model.fit(loaders[0], validation_data=loaders[1], epochs=task.epochs, verbose=2)
        return dict

    return train


if __name__ == "__main__":
    run(prepare)
