"""A disk that refuses, in every way that can be had here: one line, nothing half-written, and what was there stays."""

from __future__ import annotations

import errno
import hashlib
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from breedclf import Classifier
from breedclf.backends.common.archive import archive_folder
from breedclf.backends.common.bundle import ENTRY, Bundle, store_bundle
from breedclf.backends.local.endpoint_folder import EndpointFolder
from breedclf.cli import main
from breedclf.data.preprocessing import Preprocessing
from breedclf.errors import BreedclfError, DiskError
from breedclf.files.disk import refusal, write_atomic, write_output
from breedclf.inference.model_directory import read_artifact, write_artifact
from breedclf.models.backbones.backbone import StateDict, find_backbone
from breedclf.training.fit import FitResult
from tests.integration.conftest import RESNET

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these tests limit what a process may write")

CARD = {
    "architecture": "resnet18",
    "labels": ("cat", "dog"),
    "class_names": ("Cat", "Dog"),
    "preprocessing": Preprocessing(resize_px=36, crop_px=32),
}


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Within it this process may write no longer file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder, by the hash of what it holds."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def states() -> list[StateDict]:
    return [find_backbone("resnet18").new_network(seed=seed, classes=2).state_dict() for seed in (0, 1)]


@pytest.mark.parametrize("size", [0, 1_000, 30_000_000])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_model_that_cannot_be_written(tmp_path: Path, states: list[StateDict], size: int, is_first: bool) -> None:
    folder = tmp_path / "out" / "model"
    if not is_first:
        write_artifact(folder, CARD, states[0], {"history.jsonl": "first"})
    before = contents(tmp_path)
    refused = pytest.raises(DiskError, match=r"model can't be written: .*\(ulimit -f\); make room")
    with refused as caught, no_file_longer_than(size):
        write_artifact(folder, CARD, states[1], {"history.jsonl": "second"})
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4
    assert contents(tmp_path) == before
    assert list(tmp_path.rglob(".*")) == []
    write_artifact(folder, CARD, states[1], {"history.jsonl": "second"})
    assert (tmp_path / "out" / "history.jsonl").read_text() == "second"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("size=60m", "the disk is full, or has no more inodes"),
        ("size=200m,nr_inodes=6", "the disk is full, or has no more inodes"),
    ],
)
def test_a_disk_that_is_full(
    small_disk: Callable[[str], Path], states: list[StateDict], options: str, reason: str
) -> None:
    folder = small_disk(options) / "model"
    write_artifact(folder, CARD, states[0])
    before = contents(folder.parent)
    for beside in ({}, {f"{number}.txt": "text" for number in range(5)}):
        if beside and "nr_inodes" not in options:
            continue
        with pytest.raises(DiskError, match=f"model can't be written: {reason}; make room"):
            write_artifact(folder, CARD, states[1], beside)
        assert contents(folder.parent) == before
        assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert Classifier(folder).class_names == ("Cat", "Dog")


def test_a_disk_that_became_read_only(small_disk: Callable[[str], Path], states: list[StateDict]) -> None:
    disk = small_disk("size=120m")
    write_artifact(disk / "model", CARD, states[0])
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(DiskError, match="model can't be written: the disk is read-only; make room"):
        write_artifact(disk / "model", CARD, states[1])
    read_artifact(disk / "model")


def test_a_file_that_cannot_be_replaced_stays(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    write_output(file, "old")
    for write in (write_output, write_atomic):
        with pytest.raises((DiskError, OSError)), no_file_longer_than(100):
            write(file, "new" * 1000)
        assert file.read_text() == "old"
        assert list(tmp_path.iterdir()) == [file]


def test_every_refusal_in_words() -> None:
    assert refusal(OSError(errno.EDQUOT, "Disk quota exceeded")) == "your quota on this disk is used up"
    assert refusal(OSError(errno.EACCES, "Permission denied")) == "Permission denied"
    assert refusal(OSError("I/O error")) == "I/O error"


def test_what_jobs_and_endpoints_keep_is_whole_or_not_there(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("breedclf.json", "model.safetensors"):
        (source / name).write_bytes(bytes(5_000))
    bundle = Bundle({ENTRY: b"pass", "large.py": bytes(5_000)})
    endpoint = EndpointFolder(tmp_path / "endpoint")
    writers: list[Callable[[], object]] = [
        lambda: store_bundle(bundle, tmp_path / "home"),
        lambda: archive_folder(source, tmp_path / "model.tar.gz"),
        lambda: endpoint.copy_model(1, source),
    ]
    before = contents(tmp_path)
    for write in writers:
        with pytest.raises((BreedclfError, OSError)) as caught, no_file_longer_than(1_000):
            write()
        assert "ulimit -f" in str(caught.value) or getattr(caught.value, "errno", 0) == errno.EFBIG
        assert contents(tmp_path) == before
    assert not endpoint.model(1).exists()
    assert all(write() is not bundle for write in writers)
    assert len(contents(tmp_path)) == 2 + 3 + 1 + 2


def test_a_training_that_cannot_leave_its_model(trained: tuple[FitResult, Path], tmp_path: Path) -> None:
    """In a process of its own, from its first file on."""
    _, data = trained
    settings = [f"--{name.replace('_', '-')}={value}" for name, value in RESNET.items()]
    words = ["train", str(data), *settings, "--epochs=1", "--device=cpu", f"--output={tmp_path}/out"]
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); {RUN}"
    done = subprocess.run(
        [sys.executable, "-c", limited, *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"breedclf: {tmp_path}/out/model can't be written: it would exceed the largest file size")
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert set(left) <= {".training.lock", ".breedclf-output"}


RUN = "import sys; from breedclf.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_an_answer_that_cannot_be_printed() -> None:
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-c", RUN, "cache", "list", "--json"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (
        done.stderr
        == "breedclf: a file can't be written: the disk is full, or has no more inodes; make room, then try again\n"
    )
    assert done.returncode == 4


def test_commands_that_measure_and_export(
    trained: tuple[FitResult, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, data = trained
    model = str(result.artifact)
    output, exported = tmp_path / "evaluation", tmp_path / "model.pt2"
    assert main(["evaluate", model, str(data), "--output", str(output)]) == 0
    before = contents(tmp_path)
    for words in (
        ["evaluate", model, str(data), "--output", str(output)],
        ["export", model, "--format", "torch", "--output", str(exported)],
    ):
        capsys.readouterr()
        with no_file_longer_than(300):
            code = main(words)
        assert code == 4
        assert "can't be written: it would exceed the largest file size" in capsys.readouterr().err.splitlines()[-1]
        assert contents(tmp_path) == before
    assert json.loads((output / "metrics.json").read_text())["count"] == 8
    assert Classifier(model).predict(np.zeros((64, 64, 3), np.uint8)).ranked
