"""Plays a training container: SageMaker's files below `SAGEMAKER_BASE_DIR`, then the image's own way of starting.

The image is played by `sagemaker-training` where this interpreter has it, by the request's own entry point if it names
one, and otherwise by unpacking the uploaded source and running its script with the same variables.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

ORDER_VARIABLE = "BREEDCLF_EMULATED_JOB"
HOST = "localhost"  # the toolkit waits for the name `algo-1`, which only a container's network knows
CONTAINER_BASE = "/opt/ml"
TOOLKIT_MODULE = "sagemaker_pytorch_container.training:main"


def main() -> None:
    """Lay out what the order says and become the job's process."""
    order_folder = Path(os.environ[ORDER_VARIABLE])
    order = json.loads((order_folder / "order.json").read_text(encoding="utf-8"))
    base = Path(os.environ["SAGEMAKER_BASE_DIR"])
    lay_out(base, order_folder, order)
    environment = container_environment(base, order)
    toolkit = Path(sys.executable).parent / "train"
    if order["entrypoint"]:
        say(f"the request's own entry point, with {CONTAINER_BASE} rewritten to {base}")
        command = [rewritten(word, base) for word in [*order["entrypoint"], *order["arguments"]]]
        rewrite_drivers(base)
    elif toolkit.is_file():
        say(f"sagemaker-training in {toolkit.parent}")
        environment["SAGEMAKER_TRAINING_MODULE"] = TOOLKIT_MODULE
        command = [str(toolkit)]
    else:
        say("the container's contract alone: sagemaker-training isn't installed beside this interpreter")
        command, more = script_command(base, order)
        environment |= more
    os.execvpe(command[0], command, environment)


def say(played_by: str) -> None:
    """Tell the log who plays the image."""
    sys.stdout.write(f"breedclf emulator: the image is played by {played_by}\n")
    sys.stdout.flush()


def lay_out(base: Path, order_folder: Path, order: dict[str, Any]) -> None:
    """The channels, the checkpoints and the three configuration files."""
    data, config = base / "input" / "data", base / "input" / "config"
    os.chdir(base)
    shutil.rmtree(base / "code", ignore_errors=True)  # holds this script; the toolkit unpacks the source there
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
    """Make `path` lead to `target`, whatever was there."""
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
    """What a container is born with: no breedclf of ours, no keys but its role's, no SM_*, which the image makes."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SM_", "PYTHONPATH", "BREEDCLF_EMULATED", "VIRTUAL_ENV", "AWS_"))
    }
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}",
        "SAGEMAKER_BASE_DIR": str(base),
        "TRAINING_JOB_NAME": order["name"],
        "TRAINING_JOB_ARN": order["arn"],
        "PYTHONUNBUFFERED": "1",
        **order["credentials"],
    }
    users: dict[str, str] = order["environment"]
    return kept | own | users


def script_command(base: Path, order: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """The uploaded script, unpacked, and the variables that the toolkit would set for it."""
    pairs = {name: decoded(value) for name, value in order["hyperparameters"].items()}
    program = str(pairs.get("sagemaker_program", "train.py"))
    archive = rewritten(str(pairs.get("sagemaker_submit_directory", "")), base)
    code = base / "code"
    if not Path(archive).is_file():
        sys.exit(f"sagemaker_submit_directory={archive!r} is no file of the job's channels; this emulator needs one")
    with tarfile.open(archive) as tar:
        tar.extractall(code, filter="data")
    users = {name: value for name, value in pairs.items() if not name.startswith("sagemaker_")}
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
    arguments = [word for name, value in sorted(users.items()) for word in (f"--{name}", str(value))]
    command = [sys.executable, "-u", str(code / program), *arguments]
    return command, {name: str(value) for name, value in variables.items()}


def decoded(value: str) -> Any:
    """A hyperparameter as the toolkit reads it: as JSON where that works."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def rewritten(text: str, base: Path) -> str:
    """The text with the container's folder replaced by the one that stands for it here."""
    return text.replace(f"{CONTAINER_BASE}/", f"{base}/")


def rewrite_drivers(base: Path) -> None:
    """Give the SDK's own driver scripts, which name the container's folder outright, the one that stands for it."""
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
