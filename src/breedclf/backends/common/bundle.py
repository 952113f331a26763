"""The source bundle of a job: `train.py`, this package and its requirements in one reproducible archive."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from breedclf._version import __version__
from breedclf.config.hyperparameters import decode
from breedclf.errors import ConfigError
from breedclf.files.disk import writing
from breedclf.files.package import OWN_CODE_FOLDER, REQUIREMENTS, package_files
from breedclf.files.private_folder import make_private
from breedclf.files.s3_uri import is_s3
from breedclf.runtime.extras import network_requirements

ENTRY = "train.py"
MANIFEST = "bundle.json"
ARCHIVE = "sourcedir.tar.gz"
# Additional requirements of some settings, by the names in their values.
_REQUIREMENTS_OF: dict[str, dict[str, tuple[str, ...]]] = {
    "log_to": {"mlflow": ("mlflow-skinny>=3.1", "sagemaker-mlflow>=0.2"), "tensorboard": ("tensorboard>=2.18",)},
    "engine": {"openvino": ("openvino>=2025.4", "nncf>=2.19")},
}
_FOR_S3 = {"feature_store": ("boto3>=1.36",)}
_SHIM = '''"""The entry of a training job; everything else is in the package beside this file."""

from breedclf.run import main

if __name__ == "__main__":
    main()
'''
_SKIPPED_FOLDERS = {"__pycache__", ".git", ".ipynb_checkpoints", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".venv"}
_SKIPPED_SUFFIXES = {".pyc", ".pyo"}
_MAX_SOURCE_BYTES = 100 << 20
_MAX_MODULE_BYTES = 20 << 20
_HIDDEN = re.compile(r"(^|/)\.")


@dataclass(frozen=True)
class Bundle:
    """Files by their path in the archive; the same files give the same bytes, on any day and machine.

    Raises:
        ConfigError: there is no train.py, or a setup.py at the root, which SageMaker would install instead of running.
    """

    files: Mapping[str, bytes]

    def __post_init__(self) -> None:
        if ENTRY not in self.files:
            raise ConfigError(f"the job's source has no {ENTRY} at its root, which a job runs")
        if "setup.py" in self.files:
            raise ConfigError("the job's source has a setup.py at its root: SageMaker would install it; move it away")

    @property
    def content_sha256(self) -> str:
        """The hash of the files' names and contents, without the manifest that holds it."""
        digest = hashlib.sha256()
        for name in sorted(self.files):
            if name != MANIFEST:
                digest.update(f"{name}\0{hashlib.sha256(self.files[name]).hexdigest()}\n".encode())
        return digest.hexdigest()

    def archive(self) -> bytes:
        """The bundle as tar.gz: regular files only, sorted, without owners and times."""
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name in sorted(self.files):
                member = tarfile.TarInfo(name)
                member.size = len(self.files[name])
                member.mode = 0o644
                tar.addfile(member, io.BytesIO(self.files[name]))
        packed = io.BytesIO()
        with gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=6, mtime=0) as file:
            file.write(plain.getvalue())
        return packed.getvalue()

    def write_to(self, folder: Path) -> None:
        """Write the files to a folder."""
        _write(self.files, folder)


def breedclf_bundle(requirements: Sequence[str] = (), modules: Mapping[str, Path] | None = None) -> Bundle:
    """The bundle of breedclf itself with a manifest of its hash; `requirements` are added to its own.

    `modules` are files and package folders of the user's own, by name.

    Raises:
        ConfigError: one of them is too big, or no longer exists.
    """
    files = package_files() | _own_modules(modules or {})
    files[ENTRY] = _SHIM.encode()
    files["requirements.txt"] = "".join(f"{line}\n" for line in sorted({*REQUIREMENTS, *requirements})).encode()
    manifest = {"breedclf_version": __version__, "content_sha256": Bundle(files).content_sha256}
    return Bundle({**files, MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode()})


def write_own_modules(modules: Mapping[str, Path], folder: Path) -> None:
    """Write the user's modules below a job's code folder, for a job that runs without a bundle.

    Raises:
        ConfigError: one of them is too big, or no longer exists.
    """
    _write(_own_modules(modules), folder)


def settings_requirements(hyperparameters: Mapping[str, str]) -> list[str]:
    """Requirements that these settings add to those of every training job.

    Example:
        >>> settings_requirements({"log_to": "tensorboard", "feature_store": "s3://bucket/features"})
        ['tensorboard>=2.18', 'boto3>=1.36']
    """
    named = [
        line
        for setting, by_name in _REQUIREMENTS_OF.items()
        for name in hyperparameters.get(setting, "").split(",")
        for line in by_name.get(name, ())
    ]
    network = network_requirements(str(decode(hyperparameters.get("architecture", ""))))
    in_s3 = [name for name in _FOR_S3 if is_s3(hyperparameters.get(name, ""))]
    return [*named, *network, *(line for name in in_s3 for line in _FOR_S3[name])]


def source_bundle(folder: Path) -> Bundle:
    """A bundle of the files in a user's folder.

    Raises:
        ConfigError: the folder doesn't exist, is too big, or has no train.py.
    """
    if not folder.is_dir():
        raise ConfigError(f"source={str(folder)!r} is not a folder")
    return Bundle(_read_tree(folder))


def store_bundle(bundle: Bundle, home: Path) -> Path:
    """Store a bundle in `home/bundles`, unpacked in `code/` and as an archive, once for all its jobs.

    Raises:
        DiskError: it can't be written; nothing is left behind.
    """
    target = home / "bundles" / bundle.content_sha256[:32]
    if target.is_dir():
        return target
    make_private(home)
    fresh = home / "bundles" / f".new-{secrets.token_hex(6)}"
    try:
        with writing(target):
            bundle.write_to(fresh / "code")
            (fresh / ARCHIVE).write_bytes(bundle.archive())
            _rename_if_missing(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def _rename_if_missing(fresh: Path, target: Path) -> None:
    try:
        fresh.rename(target)
    except OSError:  # another process stored the same bundle
        if not target.is_dir():
            raise


def _write(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _own_modules(modules: Mapping[str, Path]) -> dict[str, bytes]:
    """The files of modules and packages below their folder in the bundle, without hidden ones."""
    files: dict[str, bytes] = {}
    for name, path in modules.items():
        if not path.exists():
            raise ConfigError(f"the module {name} of the job is no longer at {path}")
        parts = {"": path.read_bytes()} if path.is_file() else _read_tree(path)
        visible = {part: content for part, content in parts.items() if not _HIDDEN.search(part)}
        if (size := sum(map(len, visible.values()))) > _MAX_MODULE_BYTES:
            raise ConfigError(
                f"the module {name} at {path} has {size >> 20} MiB; a job takes at most {_MAX_MODULE_BYTES >> 20}: "
                "move the code into a package without data"
            )
        files |= {f"{OWN_CODE_FOLDER}/{name}/{part}".rstrip("/"): content for part, content in visible.items()}
    return files


def _read_tree(root: Path) -> dict[str, bytes]:
    files = {}
    total = 0
    for parent, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
        for name in sorted(names):
            path = Path(parent) / name
            if path.suffix in _SKIPPED_SUFFIXES or not path.is_file():
                continue
            total += path.stat().st_size
            if total > _MAX_SOURCE_BYTES:
                raise ConfigError(
                    f"the source in {root} is bigger than {_MAX_SOURCE_BYTES >> 20} MiB; give data as channels"
                )
            files[path.relative_to(root).as_posix()] = path.read_bytes()
    return files
