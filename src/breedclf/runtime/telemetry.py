"""Other packages' telemetry, switched off before their first import: nothing here reports anything to anyone.

Some of it forks the process, sockets and all, and waits for servers that a closed network never reaches. The switches
are variables of the environment, so that child processes have them too; one that the user has set is left alone.
"""

from __future__ import annotations

import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

SWITCHES = {
    "DO_NOT_TRACK": "1",  # what many agree on, MLflow among them
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Variables of the environment and what switches telemetry off. OpenVINO and NNCF have none; see `opt_out`."""

_OPENVINO = "openvino_telemetry"


def opt_out() -> None:
    """Switch it off, for this process and its children; to be called before any package is imported that has it.

    OpenVINO and NNCF ask a package of their own, `openvino_telemetry`, whose only switch is a file in the home folder,
    shared with the user's other programs. Both do without the package, so that here it isn't found.
    """
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
    if not any(isinstance(finder, _NotFound) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NotFound())


class _NotFound(MetaPathFinder):
    """Finds no `openvino_telemetry`, whatever is installed."""

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        del path, target
        if name == _OPENVINO or name.startswith(f"{_OPENVINO}."):
            raise ModuleNotFoundError(f"{_OPENVINO} is switched off by breedclf", name=name)
        return None
