"""`python -m benchmarks.bundles [NAME …]`."""

from __future__ import annotations

import sys

from acclimate.errors import AcclimateError

from benchmarks.bundles.making import make_bundles

if __name__ == "__main__":
    try:
        make_bundles(sys.argv[1:])
    except AcclimateError as error:
        print(f"bundles: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
