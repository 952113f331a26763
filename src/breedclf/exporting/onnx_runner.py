"""Runs an ONNX file in a separate process: `onnx_runner.py MODEL IMAGES.npy OUTPUT.npy`.

It imports neither torch nor breedclf, since two runtimes in one process compete for threads.
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime


def main(model: str, images: str, out: str) -> None:
    """Write the outputs of all images in one batch, followed by those of the first image alone."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (name,) = (one.name for one in session.get_inputs())
    inputs = np.load(images)
    rows = [session.run(None, {name: batch})[0] for batch in (inputs, inputs[:1])]
    np.save(out, np.concatenate(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
