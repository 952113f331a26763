"""Without the extra, the package imports, and using SageMaker reports what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

# An interpreter in which boto3 and botocore can't be imported, as if they weren't installed.
_WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("boto3", "botocore", "sagemaker"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from breedclf.errors import MissingExtraError
"""
_HINT = 'pip install "breedclf[sagemaker]"'


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT + program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_imports_without_the_extra() -> None:
    program = "import breedclf; from breedclf import LocalBackend, Trainer; print('SageMakerBackend' in dir(breedclf))"
    assert run(program).strip() == "True"


@pytest.mark.parametrize(
    "ask",
    [
        "import breedclf; breedclf.SageMakerBackend()",
        "from breedclf import S3Dataset; S3Dataset.upload('dogs', 's3://b/x')",
        "from breedclf.backends.registry import backend_named; backend_named('sagemaker')",
    ],
)
def test_using_sagemaker_says_what_to_install(ask: str) -> None:
    printed = run(f"try:\n    {ask}\nexcept MissingExtraError as error:\n    print(error)\n")
    assert _HINT in printed
