"""`python -m benchmarks NAME [--seed N]`."""

from __future__ import annotations

import sys

from benchmarks.harness.command import main

if __name__ == "__main__":
    sys.exit(main())
