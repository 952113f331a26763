"""What a feature pass leaves in memory beyond its features, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PASS = """
import sys
import psutil
import torch
from torch import nn
from breedclf.runtime.device import Compute
from breedclf.features.extraction import FeatureExtractor
from breedclf.data.image_source import Loaded
from breedclf.data.preprocessing import Preprocessing

torch.set_num_threads(1)

class Drawn:
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def load(self, index, enough_px=None, color="as_stored"):
        return Loaded(torch.full((3, 256, 256), index % 256, dtype=torch.uint8), 0.0, 0.0, bytes(16))

network = nn.Sequential(nn.Conv2d(3, 8, 9, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(8), nn.Flatten()).eval()
compute = Compute(torch.device("cpu"), "fp32")
extractor = FeatureExtractor(lambda: network, Preprocessing(), compute, "drawn", 32)

def kept(count):
    before = psutil.Process().memory_info().rss
    found = extractor.extract(Drawn(count))
    assert found.values.shape == (count, 512)
    return psutil.Process().memory_info().rss - before - found.values.nbytes

kept(320)
print(kept(6000) / 6000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="told by Linux's resident memory")
def test_a_feature_pass_keeps_nothing_but_its_features(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PASS], capture_output=True, text=True, timeout=200, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 30_000  # bytes an image
