"""Runs an ONNX file in a process of its own: `onnx_runner.py MODEL PICTURES.npy OUT.npy`.

Two runtimes in one process take each other's threads, so that neither torch nor breedclf is imported here.
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime


def main(model: str, pictures: str, out: str) -> None:
    """All images at a time and then the first alone, as rows below each other."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (name,) = (one.name for one in session.get_inputs())
    all_of_them = np.load(pictures)
    rows = [session.run(None, {name: batch})[0] for batch in (all_of_them, all_of_them[:1])]
    np.save(out, np.concatenate(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
