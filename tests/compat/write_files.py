"""Write one file of each kind that later versions must read, with the breedclf that is installed.

Run it with the code of a release, which is what writes the files:

    git worktree add /tmp/release v0.2.0
    PYTHONPATH=/tmp/release/src .venv/bin/python tests/compat/write_files.py tests/compat/files

The archive is small because the weights are constants; everything else is what that version wrote.
"""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import torch
from torchvision.models import resnet18

import breedclf
from breedclf import Categorical, Classifier, LocalBackend, Trainer, TrainingConfig, TuningJob
from breedclf.testing.images import write_image_set

NOT_KEPT = {"artifacts", "bundles", "code", "forkserver", "slots", "source"}
"""Folders that hold breedclf's own code, or belong to running processes."""


def constant_weights() -> dict[str, torch.Tensor]:
    """A state dict whose tensors are constants, so that 45 MB compress to some kilobytes."""
    state = resnet18().state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            of_a_filter = tensor.dim() > 1
            value = 1 / tensor[0].numel() if of_a_filter else float("running_mean" not in name and "bias" not in name)
            tensor.fill_(value)
    return state


def write(root: Path) -> None:
    """Write the files of a run, a job and a search below a folder, and `expected.json` with what they mean."""
    images = write_image_set(root / "images", classes=2, train=4, valid=2, test=1, seed=0, size_px=24)
    torch.save(constant_weights(), root / "weights.pth")
    settings: dict[str, Any] = {
        "data": images,
        "architecture": "resnet18",
        "weights": str(root / "weights.pth"),
        "epochs": 2,
        "batch_size": 4,
        "device": "cpu",
        "precision": "fp32",
        "chunk_size": 8,
        "workers": 0,
        "cache_dir": root / "cache",
    }
    config = TrainingConfig(**settings, output=root / "run")
    result = Trainer(config).fit()
    classifier = Classifier(result.artifact, device="cpu", precision="fp32")
    test_images = sorted((images / "test").rglob("*.jpg"))
    probabilities = classifier.probabilities(list(test_images))

    backend = LocalBackend(root / "home", gpus=())
    job = Trainer(config, backend=backend).submit(name="job")
    job.wait(timeout_seconds=300)
    tuning = TuningJob(
        config, {"learning_rate": Categorical(0.01, 0.02)}, name="search", strategy="grid", home=root / "home"
    )
    tuning.run().wait()
    backend.close()

    expected = {
        "version": breedclf.__version__,
        "labels": list(classifier.card.labels),
        "probabilities": {
            path.relative_to(root).as_posix(): row.tolist()
            for path, row in zip(test_images, probabilities, strict=True)
        },
        "history": [epoch.valid_loss for epoch in result.history],
        "best_epoch": result.best_epoch,
        "job_status": str(job.status.value),
        "metrics": dict(job.metrics),
        "best": {"hyperparameters": tuning.best.hyperparameters, "objective": tuning.best.objective},
        "trials": [trial.name for trial in tuning.trials],
    }
    (root / "expected.json").write_text(json.dumps(expected, indent=2) + "\n", encoding="utf-8")


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    left_out = member.issym() or NOT_KEPT & set(Path(member.name).parts)  # links lead to the images of that machine
    return None if left_out else member


if __name__ == "__main__":
    target = Path(sys.argv[1]) / f"{breedclf.__version__}.tar.xz"
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder).resolve() / "files")
        with tarfile.open(target, "w:xz", preset=9) as archive:
            archive.add(Path(folder) / "files", "files", filter=_kept)
            print(*(member.name for member in archive.getmembers() if member.isfile()), sep="\n")  # noqa: T201
    print(f"{target}: {target.stat().st_size:,} bytes")  # noqa: T201
