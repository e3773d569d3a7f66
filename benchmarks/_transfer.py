"""What the benchmarks of transfer share: a method, and the config of its smallest family."""

from __future__ import annotations

from collections.abc import Mapping

METHODS: Mapping[str, str] = {
    "maml": "point_frame_maml",
    "rl2": "point_frame_rl2",
    "model": "point_frame_model",
    "successor": "reacher_library",
    "mimic": "point_frame_mimic",
    "features": "point_frame_features",
    "entropy": "point_entropy",
    "identify": "servo_wide_identify",
    "robust": "point_frame_robust",
}
"""By the method's name; the config trains, exports, verifies and drives in `transfer_devices`."""
