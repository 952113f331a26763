"""The bundle: the same bytes each time, nothing in it that a job can't use, and enough to run on its own."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

from breedclf import Categorical, TrainingConfig
from breedclf.backends.common.bundle import Bundle, breedclf_bundle, settings_requirements, source_bundle, store_bundle
from breedclf.errors import ConfigError, MissingExtraError
from breedclf.tuning.packed import packed_pairs, requirements_of
from breedclf.tuning.search_request import SearchRequest
from breedclf.tuning.study import Study


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    bundle = breedclf_bundle()
    folder = tmp_path / "copy"
    bundle.write_to(folder)  # new files, new times
    again = source_bundle(folder)
    assert hashlib.sha256(again.archive()).digest() == hashlib.sha256(bundle.archive()).digest()
    assert again.content_sha256 == bundle.content_sha256
    assert bundle.archive()[4:8] == bytes(4), "the gzip header's time"


def test_the_archive_holds_regular_files_of_nobody() -> None:
    with tarfile.open(fileobj=io.BytesIO(breedclf_bundle().archive())) as tar:
        members = tar.getmembers()
    names = [member.name for member in members]
    assert names == sorted(names)
    assert {"train.py", "requirements.txt", "bundle.json", "breedclf/run.py", "breedclf/py.typed"} <= set(names)
    assert "setup.py" not in names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    for member in members:
        assert member.isreg()
        assert (member.mtime, member.uid, member.gid, member.uname, member.mode) == (0, 0, 0, "", 0o644)


def test_only_a_packed_bayesian_search_requires_optuna() -> None:
    study = SearchRequest(name="s", config=TrainingConfig(data="dogs"), space={"epochs": Categorical(2, 3)})
    pairs = packed_pairs(Study(request=study, key="0123abcd", created=0.0))
    assert requirements_of(pairs) == ("optuna>=5.0",)
    assert requirements_of({"epochs": "2"}) == ()
    at_random = packed_pairs(
        Study(request=study.model_copy(update={"strategy": "random"}), key="0123abcd", created=0.0)
    )
    assert requirements_of(at_random) == ()
    bundle = breedclf_bundle(requirements_of(pairs))
    assert b"optuna>=5.0\n" in bundle.files["requirements.txt"]
    assert b"optuna" not in breedclf_bundle().files["requirements.txt"]
    assert bundle.content_sha256 != breedclf_bundle().content_sha256


def test_requirements_leave_torch_to_the_image() -> None:
    names = [line.split(">=")[0] for line in breedclf_bundle().files["requirements.txt"].decode().split()]
    assert "pydantic" in names
    assert not {"torch", "torchvision", "numpy"} & set(names)


def test_the_manifest_tells_the_hash_of_the_rest() -> None:
    bundle = breedclf_bundle()
    assert json.loads(bundle.files["bundle.json"])["content_sha256"] == bundle.content_sha256
    changed = Bundle({**bundle.files, "train.py": b"pass"})
    assert changed.content_sha256 != bundle.content_sha256


def test_it_is_kept_once_for_all_jobs(tmp_path: Path) -> None:
    first = store_bundle(breedclf_bundle(), tmp_path)
    assert store_bundle(breedclf_bundle(), tmp_path) == first
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == [first.name]


def test_a_network_of_timm_brings_the_version_of_timm_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    [line] = settings_requirements({"architecture": "timm:vit_tiny_patch16_224"})
    assert line == f"timm=={version('timm')}"
    assert settings_requirements({"architecture": "resnet50"}) == []
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"architecture=timm:x needs timm, .*: pip install 'breedclf\[timm\]'"):
        settings_requirements({"architecture": "timm:x"})


@pytest.mark.parametrize(
    ("files", "message"),
    [({"main.py": b""}, "has no train.py"), ({"train.py": b"", "setup.py": b""}, "has a setup.py at its root")],
)
def test_sources_that_can_not_run_are_refused(files: dict[str, bytes], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Bundle(files)


def test_a_source_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
        source_bundle(tmp_path / "gone")


def test_the_bundle_is_the_only_breedclf_that_its_entry_imports(tmp_path: Path, bare_python: Path) -> None:
    folder = tmp_path / "code"
    breedclf_bundle().write_to(folder)
    script = "import sys; sys.path.insert(0, sys.argv[1]); import breedclf.run, breedclf; print(breedclf.__file__)"
    done = subprocess.run(
        [bare_python, "-c", script, str(folder)], capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path
    )
    assert Path(done.stdout.strip()) == folder / "breedclf" / "__init__.py"
