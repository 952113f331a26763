"""`python -m breedclf` is the command line."""

import sys

from breedclf.cli import main

if __name__ == "__main__":
    sys.exit(main())
