"""What a figure was measured on: enough to judge it, nothing that names the machine or its owner."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path

from acclimate.cores import usable_cores

_CPUINFO = Path("/proc/cpuinfo")
# What was found or made does not change what finds or makes it.
_UNCHANGED = ("--", ".", ":(exclude,top)benchmarks/results", ":(exclude,top)examples/bundles")


def machine() -> str:
    """CPU model, cores that this process may use, Python, operating system."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{_cpu()}, {_cores()} cores, {python}, {_system()}"


def commit(folder: Path) -> str:
    """Short hash of the checkout that `folder` lies in, with -dirty where it was changed; else "unknown"."""
    short = _git(folder, "rev-parse", "--short", "HEAD")
    top = _git(folder, "rev-parse", "--show-toplevel")
    if not short or not top:
        return "unknown"
    return f"{short}-dirty" if _git(Path(top), "status", "--porcelain", *_UNCHANGED) else short


def _cpu() -> str:
    text = _CPUINFO.read_text(encoding="utf-8", errors="replace") if _CPUINFO.is_file() else ""
    found = re.search(r"^(?:model name|Model)\s*: (.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _cores() -> int:
    return usable_cores()


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    return f"{name} {platform.machine()}"


def _git(folder: Path, *arguments: str) -> str:
    """What git prints; nothing where there is no git, or no checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
