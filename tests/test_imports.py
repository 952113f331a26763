"""Importing the package and asking for help load no heavy library (`benchmarks startup` measures the seconds)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import breedclf

HEAVY = ("torch", "torchvision", "numpy", "PIL", "boto3", "botocore", "sagemaker", "pydantic")


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_loads_no_heavy_library() -> None:
    loaded = _python(f"import sys, breedclf; print([name for name in {HEAVY} if name in sys.modules])")
    assert loaded == "[]"


@pytest.mark.parametrize("module", ["config", "cli", "api.trainer"])
def test_the_client_side_loads_neither_torch_nor_boto3(module: str) -> None:
    heavy = ("torch", "torchvision", "boto3", "sagemaker")
    loaded = _python(f"import sys, breedclf.{module}; print([name for name in {heavy} if name in sys.modules])")
    assert loaded == "[]"


@pytest.mark.parametrize("module", ["jobs", "jobs.handle", "config.aliases"])
def test_processes_that_look_after_jobs_load_no_pydantic(module: str) -> None:
    assert _python(f"import sys, breedclf.{module}; print('pydantic' in sys.modules)") == "False"


@pytest.mark.parametrize("command", ["train", "tune", "profile", "evaluate", "serve", "deploy", "models"])
def test_the_help_of_a_command_loads_no_torch(command: str) -> None:
    code = f"import sys; from breedclf.cli import main\ntry: main([{command!r}, '--help'])\nexcept SystemExit: pass\n"
    assert _python(code + "print('torch' in sys.modules)").splitlines()[-1] == "False"


def test_predicting_does_without_torchs_compiler() -> None:
    """It takes as long to load as the rest of torch and torchvision together."""
    told = _python(
        "import sys, torch; "
        "from breedclf.models.backbones.backbone import find_backbone; from breedclf.models.folding import folded; "
        "resnet = find_backbone('resnet18'); "
        "network = resnet.network_from(resnet.new_network(seed=0, classes=2).state_dict()); "
        "folded(network)(torch.zeros(1, 3, 64, 64)); "
        "print([name for name in sys.modules if name.startswith('torch._dynamo')])"
    )
    assert told == "[]"


@pytest.mark.slow
def test_whoever_needs_the_compiler_gets_it() -> None:
    """Also through torchvision's operator that asks for it, and where it was there before."""
    code = (
        "import sys, torch; {first}from breedclf.runtime import vision; from torchvision.ops import roi_align; "
        "print(tuple(roi_align(torch.rand(1, 3, 8, 8), torch.tensor([[0, 0, 0, 4.0, 4.0]]), 2).shape), end=' '); "
        "import torch._dynamo.utils as utils; print(type(utils).__name__, utils.is_compile_supported('cpu'), end=' '); "
        "print(sys.modules['torch._dynamo.utils'] is utils)"
    )
    plain, before = (_python(code.format(first=first)) for first in ("", "import torch._dynamo; "))
    assert plain == before == "(1, 3, 2, 2) module True True"


@pytest.mark.parametrize("name", breedclf.__all__)
def test_a_public_name_resolves(name: str) -> None:
    assert getattr(breedclf, name) is not None
    assert name in dir(breedclf)


def test_all_lists_what_is_loaded_lazily() -> None:
    assert list(breedclf.__all__) == sorted(breedclf.__all__)
    assert {"Trainer", "TuningJob", "ProfilingSession", "Deployment", "__version__"} < set(breedclf.__all__)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'breedclf' has no attribute 'Trainr'"):
        _ = breedclf.Trainr


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(breedclf.__file__).parent / "py.typed").is_file()


def test_the_version_stands_in_the_changelog_or_is_unreleased(project_root: Path) -> None:
    headings = re.findall(r"^## \[(.+?)\]", (project_root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert len(headings) == 1 or breedclf.__version__ in headings
