"""`python -m docs.draw [NAME …]`: draws the pictures of these pages anew; all of them, where none is named."""

from __future__ import annotations

import sys

from acclimate.errors import AcclimateError

from docs.draw.pictures import redraw

if __name__ == "__main__":
    try:
        redraw(sys.argv[1:])
    except AcclimateError as error:
        print(f"docs.draw: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
