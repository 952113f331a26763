"""axe-core, which checks pages for what bars people from them, by npm."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from tests.browser import Browser

PACKAGE = "axe-core@4"


def install_axe(folder: Path, programs: Path) -> tuple[str, str]:
    """The script, and why there is none; npm is the one on PATH, or among `programs`."""
    npm = shutil.which("npm") or shutil.which("npm", path=str(programs))
    if npm is None:
        return "", "no npm on this machine"
    folder.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", PACKAGE, "--prefer-offline", "--silent", "--pack-destination", str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        return "", f"npm can't get {PACKAGE}: {done.stderr.strip()[-500:]}"
    with tarfile.open(next(folder.glob("axe-core-*.tgz"))) as archive:
        script = archive.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode("utf-8"), ""


def violations(page: Browser, axe: str, *, rules: tuple[str, ...] = ()) -> list[str]:
    """What is wrong with the page that is open: all rules by default, those of best practice included."""
    page.run(f"if (!window.axe) {{ {axe} }} true")
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    found = page.run(f"axe.run(document, {json.dumps(options)}).then((results) => results.violations)")
    return [f"{each['id']}: {node['html'][:200]} {node['failureSummary']}" for each in found for node in each["nodes"]]
