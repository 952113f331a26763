"""Runs a training job as its container would: writes SageMaker's files to `SAGEMAKER_BASE_DIR`, then starts the job.

It runs the request's entry point if there is one, SageMaker's toolkits if this interpreter can import them, and
otherwise unpacks the uploaded source and runs its script with the same variables.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

ORDER_VARIABLE = "BREEDCLF_EMULATED_JOB"
HOST = "localhost"  # the toolkit waits for the name `algo-1`, which only a container's network knows
CONTAINER_BASE = "/opt/ml"
TOOLKITS = ("sagemaker_training", "sagemaker_pytorch_container")
TOOLKIT_MODULE = "sagemaker_pytorch_container.training:main"
_START_TOOLKIT = (
    "import sys; sys.path[:] = filter(None, sys.path); from sagemaker_training.cli.train import main; sys.exit(main())"
)
# Hyperparameters that the toolkit doesn't pass to scripts, besides those that start with sagemaker_.
_RESERVED = ("_tuning_objective_metric", "default_user_module_name")


def main() -> None:
    """Write the order's files, then replace this process with the job's."""
    order_folder = Path(os.environ[ORDER_VARIABLE])
    order = json.loads((order_folder / "order.json").read_text(encoding="utf-8"))
    base = Path(os.environ["SAGEMAKER_BASE_DIR"])
    write_files(base, order_folder, order)
    environment = container_environment(base, order)
    missing = [name for name in TOOLKITS if importlib.util.find_spec(name) is None]
    if order["entrypoint"]:
        log_runner(f"the request's own entry point, with {CONTAINER_BASE} rewritten to {base}")
        command = [rewritten(word, base) for word in [*order["entrypoint"], *order["arguments"]]]
        rewrite_drivers(base)
    elif not missing:
        log_runner(f"sagemaker-training, which {sys.executable} imports")
        environment["SAGEMAKER_TRAINING_MODULE"] = TOOLKIT_MODULE
        command = [sys.executable, "-c", _START_TOOLKIT]
    else:
        log_runner(f"the container's contract alone: {sys.executable} can't import {' and '.join(missing)}")
        command, more = script_command(base, order)
        environment |= more
    os.execvpe(command[0], command, environment)


def log_runner(runner: str) -> None:
    """Log what runs the image."""
    sys.stdout.write(f"breedclf emulator: the image is run by {runner}\n")
    sys.stdout.flush()


def write_files(base: Path, order_folder: Path, order: dict[str, Any]) -> None:
    """Link the channels and checkpoints, and write the three configuration files."""
    data, config = base / "input" / "data", base / "input" / "config"
    os.chdir(base)
    shutil.rmtree(base / "code", ignore_errors=True)  # contains this script; the toolkit unpacks the source there
    for name in order["channels"]:
        link(data / name, order_folder / "channels" / name)
    link(base / "checkpoints", order_folder / "checkpoints")
    pairs = {
        name: rewritten(value, base) if name.startswith("sagemaker_") else value
        for name, value in order["hyperparameters"].items()
    }
    documents = {
        "hyperparameters": pairs,
        "inputdataconfig": order["channels"],
        "resourceconfig": resources(order),
    }
    for name, document in documents.items():
        (config / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")


def link(path: Path, target: Path) -> None:
    """Replace `path` with a link to `target`."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def resources(order: dict[str, Any]) -> dict[str, Any]:
    """`resourceconfig.json` of one host."""
    kind = order["instance_type"]
    return {
        "current_host": HOST,
        "current_instance_type": kind,
        "current_group_name": "homogeneousCluster",
        "hosts": [HOST],
        "instance_groups": [{"instance_group_name": "homogeneousCluster", "instance_type": kind, "hosts": [HOST]}],
        "network_interface_name": "lo",
    }


def container_environment(base: Path, order: dict[str, Any]) -> dict[str, str]:
    """The variables of a new container: without this breedclf, with its role's keys alone, without the image's SM_*."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SM_", "PYTHONPATH", "BREEDCLF_EMULATED", "VIRTUAL_ENV", "AWS_"))
    }
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', os.defpath)}",
        "SAGEMAKER_BASE_DIR": str(base),
        "TRAINING_JOB_NAME": order["name"],
        "TRAINING_JOB_ARN": order["arn"],
        "PYTHONUNBUFFERED": "1",
        **order["credentials"],
    }
    users: dict[str, str] = order["environment"]
    return inherited | own | users


def submitted(hyperparameters: dict[str, str], environment: dict[str, str]) -> tuple[str, str]:
    """The script to run and its upload location, from hyperparameters or variables; empty if missing."""
    return (
        str(decoded(hyperparameters.get("sagemaker_program", environment.get("SAGEMAKER_PROGRAM", "")))),
        str(
            decoded(
                hyperparameters.get("sagemaker_submit_directory", environment.get("SAGEMAKER_SUBMIT_DIRECTORY", ""))
            )
        ),
    )


def unpack(source: Path, code: Path) -> None:
    """Copy the uploaded source to the code folder: an archive, a folder, or a single script."""
    if source.is_dir():
        shutil.copytree(source, code)
        return
    code.mkdir(parents=True, exist_ok=True)
    if tarfile.is_tarfile(source):
        with tarfile.open(source) as tar:
            tar.extractall(code, filter="data")
    else:
        shutil.copy2(source, code)


def script_command(base: Path, order: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Unpack the uploaded script and change to its folder; return its command and the toolkit's variables for it."""
    pairs = {name: decoded(value) for name, value in order["hyperparameters"].items()}
    program, location = submitted(order["hyperparameters"], order["environment"])
    program, source = program or "train.py", order["source"] or rewritten(location, base)
    code = base / "code"
    if not source or not Path(source).exists():
        sys.exit(
            f"sagemaker_submit_directory={location!r} is neither in S3 nor in a channel; it must contain {program}"
        )
    unpack(Path(source), code)
    if not (code / program).is_file():
        found = sorted(path.name for path in code.iterdir())
        sys.exit(f"{location} has no {program}, which sagemaker_program names; it has {found}")
    if (code / "requirements.txt").is_file():
        log_runner("this interpreter as it is: requirements.txt isn't installed without SageMaker's toolkits")
    os.chdir(code)
    users = {
        name: value for name, value in pairs.items() if not name.startswith("sagemaker_") and name not in _RESERVED
    }
    data = base / "input" / "data"
    variables: dict[str, Any] = {
        "SM_INPUT_DIR": base / "input",
        "SM_INPUT_CONFIG_DIR": base / "input" / "config",
        "SM_MODEL_DIR": base / "model",
        "SM_OUTPUT_DIR": base / "output",
        "SM_OUTPUT_DATA_DIR": base / "output" / "data",
        "SM_CHANNELS": json.dumps(sorted(order["channels"])),
        "SM_HPS": json.dumps(users),
        "SM_HOSTS": json.dumps([HOST]),
        "SM_CURRENT_HOST": HOST,
        "SM_CURRENT_INSTANCE_TYPE": order["instance_type"],
        "SM_NETWORK_INTERFACE_NAME": "lo",
        "SM_NUM_CPUS": os.cpu_count() or 1,
        "SM_NUM_GPUS": 0,
        "SM_RESOURCE_CONFIG": json.dumps(resources(order)),
        "SM_INPUT_DATA_CONFIG": json.dumps(order["channels"]),
        "SM_LOG_LEVEL": 20,
        **{f"SM_CHANNEL_{name.upper()}": data / name for name in order["channels"]},
        **{f"SM_HP_{name.upper()}": value for name, value in users.items()},
        "PYTHONPATH": code,
    }
    arguments = [word for name, value in sorted(users.items()) for word in (flag(name), argument(value))]
    if program.endswith(".py"):
        command = [sys.executable, "-u", str(code / program), *arguments]
    else:
        (code / program).chmod(0o755)  # as the toolkit does
        command = ["/bin/sh", "-c", shlex.join([f"./{program}", *arguments])]
    return command, {name: str(value) for name, value in variables.items()}


def flag(name: str) -> str:
    """A hyperparameter's name as the toolkit passes it to a script."""
    return f"--{name}" if len(name) > 1 else f"-{name}"


def argument(value: Any) -> str:
    """A hyperparameter's value as the toolkit passes it to a script."""
    return ",".join(f"{key}={each}" for key, each in sorted(value.items())) if isinstance(value, dict) else str(value)


def decoded(value: str) -> Any:
    """A hyperparameter as the toolkit reads it: parsed as JSON if possible."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def rewritten(text: str, base: Path) -> str:
    """The text with the container's folder replaced by `base`."""
    return text.replace(f"{CONTAINER_BASE}/", f"{base}/")


def rewrite_drivers(base: Path) -> None:
    """Replace the container's folder, which is hard-coded in the SDK's driver scripts."""
    drivers = base / "input" / "data" / "sm_drivers"
    if not drivers.exists():
        return
    own = base / "sm_drivers"
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(drivers, own)
    link(drivers, own)
    for path in own.rglob("*"):
        if path.suffix in (".py", ".sh", ".json"):
            path.write_text(rewritten(path.read_text(encoding="utf-8"), base), encoding="utf-8")
            path.chmod(0o755)


if __name__ == "__main__":
    main()
