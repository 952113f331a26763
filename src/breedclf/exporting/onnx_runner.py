"""Runs an ONNX file in a separate process: `onnx_runner.py MODEL IMAGES.npy OUTPUT.npz`.

It imports neither torch nor breedclf, since two runtimes in one process compete for threads.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import onnxruntime


def main(model: str, images: str, out: str) -> None:
    """Write each output by its name: of all images in one batch, followed by that of the first image alone."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (name,) = (one.name for one in session.get_inputs())
    inputs = np.load(images)
    found = [session.run(None, {name: batch}) for batch in (inputs, inputs[:1])]
    names = [one.name for one in session.get_outputs()]
    rows: dict[str, Any] = {name: np.concatenate(parts) for name, *parts in zip(names, *found, strict=True)}
    np.savez(out, **rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
