"""`breedclf` and `python -m breedclf`: the command line, which signals end cleanly from its first line on."""

from __future__ import annotations

import sys
from typing import NoReturn

from breedclf.runtime.process_signals import EXIT_INTERRUPTED, end_at_once_by_signals, interrupt_by_signals


def main() -> NoReturn:
    """Run one command, and exit with its code."""
    end_at_once_by_signals()
    from breedclf.cli import main as command
    from breedclf.runtime.quick_exit import leave

    interrupt_by_signals()
    try:
        code = command()
    except KeyboardInterrupt:  # before it could care for one itself
        sys.stderr.write("breedclf: interrupted\n")
        code = EXIT_INTERRUPTED
    if code == EXIT_INTERRUPTED:
        leave(code)  # threads may still compute, over which the end of the interpreter would trip
    sys.exit(code)


if __name__ == "__main__":
    main()
