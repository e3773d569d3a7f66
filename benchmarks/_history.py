"""Earlier versions of this repository, to measure against in the same run."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def checked_out(commit: str, folder: Path, *parts: str) -> Path:
    """These parts of a commit, unpacked into `folder`, which is returned."""
    command = ["git", "-C", str(ROOT), "archive", commit, *parts]
    packed = subprocess.run(command, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        tar.extractall(folder, filter="data")
    return folder
