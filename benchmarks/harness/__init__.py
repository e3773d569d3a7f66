"""What every benchmark shares: how it is found, run and recorded."""

from __future__ import annotations

from typing import TypeAlias

from acclimate.errors import AcclimateError
from acclimate.stats import Interval

Figure: TypeAlias = float | Interval  # a number, or a mean with its interval and n


class BenchmarkError(AcclimateError):
    """A benchmark that gave no figures worth keeping."""

    exit_code = 1
