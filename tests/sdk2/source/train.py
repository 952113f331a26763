"""The jobs' script: no network and no torch, but the arguments, metrics and files of training."""

import argparse
import json
import os
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--learning-rate", type=float, required=True)
parser.add_argument("--batch-size", type=int, required=True)
parser.add_argument("--epochs", type=int, required=True)
parser.add_argument("--model-dir", type=Path, default=os.environ["SM_MODEL_DIR"])
parser.add_argument("--data-dir", type=Path, default=os.environ["SM_CHANNEL_TRAINING"])
given = parser.parse_args()

names = sorted(path.name for path in given.data_dir.iterdir())
for epoch in range(1, given.epochs + 1):
    loss = abs(given.learning_rate - 0.007) * given.batch_size / epoch
    print(f"epoch {epoch}: valid loss: {loss:.6f}", flush=True)  # noqa: T201 - metrics are what a job prints
(given.model_dir / "weights.json").write_text(json.dumps({"names": names, "learning_rate": given.learning_rate}))
