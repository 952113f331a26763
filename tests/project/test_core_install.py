"""The public names in an installation without extras: they can be imported and inspected; using one says what to do."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HIDE = """
import sys
from importlib.abc import MetaPathFinder

class Hidden(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("boto3", "botocore", "sagemaker", "mlflow", "tensorboard", "openvino", "onnx",
                                      "onnxruntime", "pandas", "timm"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def run(code: str, folder: Path) -> str:
    words = [sys.executable, "-W", "error", "-c", HIDE + textwrap.dedent(code)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_public_name_can_be_imported_and_inspected(tmp_path: Path) -> None:
    run(
        """
        import inspect, pydoc
        from unittest import mock
        import breedclf
        from breedclf import *

        assert all(hasattr(breedclf, name) for name in breedclf.__all__)
        assert set(dir(breedclf)) >= set(breedclf.__all__)
        assert dict(inspect.getmembers(breedclf)).keys() >= set(breedclf.__all__)
        assert "SageMakerBackend" in pydoc.render_doc(breedclf)
        assert "breedclf[sagemaker]" in pydoc.render_doc(breedclf.SageMakerBackend)
        assert not isinstance(None, SageMakerBackend)
        assert inspect.isclass(SageMakerBackend) and SageMakerBackend.__name__ == "SageMakerBackend"
        assert mock.create_autospec(breedclf).LocalBackend is not None
        """,
        tmp_path,
    )


@pytest.mark.parametrize(
    "use",
    ['SageMakerBackend("arn:aws:iam::111122223333:role/x")', 'S3Dataset.upload("images", "s3://bucket/images")'],
)
def test_using_a_name_whose_packages_are_missing_says_what_to_install(tmp_path: Path, use: str) -> None:
    output = run(
        f"""
        from breedclf import BreedclfError, MissingExtraError, S3Dataset, SageMakerBackend
        try:
            {use}
        except MissingExtraError as error:
            print(error)
            assert isinstance(error, BreedclfError)
        assert not hasattr(S3Dataset, "upload")
        """,
        tmp_path,
    )
    assert 'SageMaker needs boto3, which is not installed: pip install "breedclf[sagemaker]"' in output


def test_a_misspelled_name_is_still_an_attribute_error(tmp_path: Path) -> None:
    run(
        """
        import breedclf
        assert not hasattr(breedclf, "SagemakerBackend")
        """,
        tmp_path,
    )
