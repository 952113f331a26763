"""The environment of a job as SageMaker sets it up: the files of `/opt/ml`, the `SM_*` variables, the arguments."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from breedclf.backends.common.folder import JobFolder
from breedclf.errors import JobError
from breedclf.files.s3_uri import is_s3
from breedclf.jobs import CODE_CHANNEL, JobSpec

ENTRY = "train.py"
HOST = "localhost"
INSTANCE_TYPE = "local"
_INHERITED = {
    "CURL_CA_BUNDLE",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "LOGNAME",
    "NO_PROXY",
    "PATH",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TEMP",
    "TMP",
    "TMPDIR",
    "TORCH_HOME",
    "TZ",
    "USER",
    "VIRTUAL_ENV",
    "BREEDCLF_CACHE_DIR",
}
_INHERITED_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "XDG_")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def make_tree(folder: JobFolder, spec: JobSpec, source_archive: Path | None) -> None:
    """Create the folders and configuration files in the job's `/opt/ml`; channels are linked, not copied.

    Raises:
        JobError: a channel's folder or file no longer exists.
    """
    config = folder.base / "input" / "config"
    channels = folder.base / "input" / "data"
    for path in (config, channels, folder.model, folder.output_data, folder.checkpoints):
        path.mkdir(parents=True, exist_ok=True)
    for name, target in spec.channels.items():
        if not target.exists():
            raise JobError(f"channel {name}: {target} no longer exists")
        if target.is_dir():
            _link(channels / name, target)
        else:  # a channel is always a folder
            (channels / name).mkdir(exist_ok=True)
            _link(channels / name / target.name, target)
    if source_archive is not None:
        (channels / CODE_CHANNEL).mkdir(exist_ok=True)
        _link(channels / CODE_CHANNEL / "sourcedir.tar.gz", source_archive)
    pairs = dict(spec.hyperparameters)
    (config / "hyperparameters.json").write_text(json.dumps(pairs), encoding="utf-8")
    (config / "inputdataconfig.json").write_text(json.dumps(_input_data_config(spec)), encoding="utf-8")
    (config / "resourceconfig.json").write_text(json.dumps(_resource_config()), encoding="utf-8")


def clear_for_restart(folder: JobFolder) -> None:
    """Delete everything but the checkpoints, as a new instance after an interruption has it."""
    for path in (folder.model, folder.output_data):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    for path in (folder.base / "code", folder.base / "input"):
        shutil.rmtree(path, ignore_errors=True)
    folder.failure_file.unlink(missing_ok=True)


def job_environment(
    folder: JobFolder, spec: JobSpec, *, cores: int, gpus: Sequence[str], outer: Mapping[str, str]
) -> dict[str, str]:
    """The whole environment of a job: a few variables of `outer`, those SageMaker sets, and the job's own."""
    uses_s3 = is_s3(spec.hyperparameters.get("feature_store", ""))
    prefixes = (*_INHERITED_PREFIXES, "AWS_") if uses_s3 else _INHERITED_PREFIXES
    inherited = {name: value for name, value in outer.items() if name in _INHERITED or name.startswith(prefixes)}
    base = folder.base
    channels = sorted(spec.channels)
    decoded = {name: _decoded(value) for name, value in spec.hyperparameters.items()}
    own = {
        "SAGEMAKER_BASE_DIR": base,
        "SM_INPUT_DIR": base / "input",
        "SM_INPUT_CONFIG_DIR": base / "input" / "config",
        "SM_MODEL_DIR": folder.model,
        "SM_OUTPUT_DIR": base / "output",
        "SM_OUTPUT_DATA_DIR": folder.output_data,
        "SM_CHANNELS": json.dumps(channels),
        "SM_HPS": json.dumps(decoded),
        "SM_HOSTS": json.dumps([HOST]),
        "SM_CURRENT_HOST": HOST,
        "SM_CURRENT_INSTANCE_TYPE": INSTANCE_TYPE,
        "SM_NETWORK_INTERFACE_NAME": "lo",
        "SM_NUM_CPUS": cores,
        "SM_NUM_GPUS": len(gpus),
        "SM_RESOURCE_CONFIG": json.dumps(_resource_config()),
        "SM_INPUT_DATA_CONFIG": json.dumps(_input_data_config(spec)),
        "SM_LOG_LEVEL": 20,
        "SM_CHECKPOINT_DIR": folder.checkpoints,
        "TRAINING_JOB_NAME": spec.name,
        "PYTHONUNBUFFERED": 1,
        "PYTHONIOENCODING": "utf-8",
        **{f"SM_CHANNEL_{name.upper()}": base / "input" / "data" / name for name in channels},
        **{f"SM_HP_{name.upper()}": value for name, value in spec.hyperparameters.items()},
        **dict.fromkeys(_THREAD_VARIABLES, cores),
    }
    if gpus or "CUDA_VISIBLE_DEVICES" in inherited:
        own["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    if spec.cache_dir is not None:
        own["BREEDCLF_CACHE_DIR"] = spec.cache_dir.absolute()
    return inherited | {name: str(value) for name, value in own.items()} | dict(spec.environment)


def job_arguments(spec: JobSpec) -> list[str]:
    """The hyperparameters as command-line arguments, as SageMaker's toolkit passes them to a script."""
    return [word for name, value in sorted(spec.hyperparameters.items()) for word in (f"--{name}", value)]


def _input_data_config(spec: JobSpec) -> dict[str, dict[str, str]]:
    channel = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
    return dict.fromkeys(spec.channels, channel)


def _resource_config() -> dict[str, object]:
    group = {"instance_group_name": "homogeneousCluster", "instance_type": INSTANCE_TYPE, "hosts": [HOST]}
    return {
        "current_host": HOST,
        "current_instance_type": INSTANCE_TYPE,
        "current_group_name": "homogeneousCluster",
        "hosts": [HOST],
        "instance_groups": [group],
        "network_interface_name": "lo",
    }


def _decoded(value: str) -> object:
    """A hyperparameter's value in SM_HPS: parsed as JSON if possible, else the text, as SageMaker's toolkit does."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    os.symlink(target.absolute(), link)  # noqa: PTH211
