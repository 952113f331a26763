"""SageMaker's training and inference toolkits, in the versions of its images, in an environment of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.backends.conftest import without_breedclf

TOOLKIT = ("sagemaker-training==5.1.1", "sagemaker-pytorch-training==3.0.0", "sagemaker-inference", "pip")
_INSTALL_SECONDS = 240


def install_toolkit(folder: Path) -> tuple[Path, str]:
    """The interpreter of an environment without breedclf, and why the toolkit isn't in it (empty when it is)."""
    python = without_breedclf(folder)
    subprocess.run([python, "-m", "ensurepip"], capture_output=True, check=False, timeout=120)
    installers = [
        [shutil.which("uv") or "uv", "pip", "install", "--quiet", "--python", str(python)],
        [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python)],
        [str(python), "-m", "pip", "install", "--quiet"],
    ]
    told = ""
    for installer in installers:
        try:
            done = subprocess.run(
                [*installer, *TOOLKIT], capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            told = str(error)
            continue
        if done.returncode == 0:
            return python, ""
        told = done.stderr.strip()[-300:]
    return python, told
