"""The `datasets` package reads its settings when it is imported: no network, and a cache of the test run's own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = str(Path(tempfile.gettempdir()) / "breedclf-test-hugging-face")
