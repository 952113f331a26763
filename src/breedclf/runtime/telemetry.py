"""Switch off the telemetry of other packages before their first import.

Some of it forks the process and waits for servers that can't be reached from a closed network. The switches are
environment variables, so child processes inherit them; a variable that the user has set isn't changed.
"""

from __future__ import annotations

import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

SWITCHES = {
    "DO_NOT_TRACK": "1",  # a common convention; MLflow follows it
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Environment variables and the values that switch telemetry off. OpenVINO and NNCF have none; see `opt_out`."""

_OPENVINO = "openvino_telemetry"


def opt_out() -> None:
    """Switch telemetry off for this process and its children; call it before importing packages that have telemetry.

    OpenVINO and NNCF use the package `openvino_telemetry`, whose only switch is a file in the home folder that the
    user's other programs share. Both work without that package, so its import is blocked.
    """
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
    if not any(isinstance(finder, _NotFound) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NotFound())


class _NotFound(MetaPathFinder):
    """Blocks the import of `openvino_telemetry`."""

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        del path, target
        if name == _OPENVINO or name.startswith(f"{_OPENVINO}."):
            raise ModuleNotFoundError(f"{_OPENVINO} is switched off by breedclf", name=name)
        return None
