"""Runs one command for the console, which may end meanwhile, and notes how it ended.

It imports as little as possible: it lives as long as the command.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Run the command of the arguments after the first one, which is the task's folder."""
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    # A signal for the whole group ends the command; this process waits for it. A handler, unlike an ignored signal,
    # isn't inherited.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    with (folder / "output").open("wb") as output, (folder / "log").open("ab") as log:
        try:
            code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=log, check=False).returncode
        except OSError as error:
            log.write(f"{command[0]} can't be started: {error}\n".encode(errors="replace"))
            code = 127
    part = folder / ".ended.part"
    part.write_text(json.dumps({"exit_code": code, "time": time.time()}), encoding="utf-8")
    part.replace(folder / "ended.json")


if __name__ == "__main__":
    main()
