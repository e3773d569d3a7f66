"""What `acclimate bench` compares engines with on a desktop: the same policy in torch, and written out in numpy.

Each is a function from a bundle to what is measured; see `acclimate.command.bench.subjects`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.bundle.file import Bundle
from acclimate.command.bench.subjects import Subject
from acclimate.errors import UsageError

Tick = Callable[
    [FloatArray, FloatArray], FloatArray
]  # obs, noise -> action within −1 to 1, or a little beyond
_FEED_FORWARD = {"w0", "b0", "scale", "gain", "sigma", "previous_action"}
_RECURRENT = {
    "input",
    "recurrent",
    "direct",
    "gain",
    "offset",
    "sigma",
    "hidden",
    "begins",
    "previous_action",
}
_BEND: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "elu": lambda x: np.maximum(x, 0.0) + np.expm1(np.minimum(x, 0.0)),
    "silu": lambda x: x * _logistic(x),
}


class _Seen(NamedTuple):
    """What a network sees of observation and previous action together, before its tanh; see `bundle.plain_inputs`."""

    matrix: FloatArray  # (n_obs + n_act, n_in)
    offset: FloatArray
    activation: str
    sigma: np.float32  # the least one

    def __call__(self, obs: FloatArray, previous: FloatArray) -> FloatArray:
        return np.concatenate([obs, previous]) @ self.matrix + self.offset


def torch_eager(bundle: Bundle) -> Subject:
    """Eager torch as it comes, on the very functions that the bundle was exported from.

    Raises UsageError without torch, BundleError where the bundle does not hold what its policy is rebuilt from.
    """
    if find_spec("torch") is None:  # as on a board, which has this module but not what it needs
        raise UsageError("torch is not installed; install acclimate[export]")
    import torch
    from acclimate_trainer.contract import policy as contract

    from acclimate_export.bundle.trained import from_bundle

    policy = from_bundle(bundle).policy
    state = contract.stacked(policy, 1, 1)

    def act(obs: FloatArray, noise: FloatArray) -> FloatArray:
        with torch.no_grad():
            found = policy.act(
                state, torch.from_numpy(obs).view(1, 1, -1), torch.from_numpy(noise).view(1, 1, -1)
            )
        state.update(found.next)
        action: FloatArray = found.action.numpy().reshape(-1)
        return action

    if bundle.golden.adapt is None:
        return Subject(act, None)
    golden = bundle.golden.adapt.window
    window = contract.Window(*(torch.from_numpy(array).unsqueeze(0) for array in golden))

    def adapt() -> object:
        with torch.no_grad():
            return policy.adapt(state, window)

    return Subject(act, adapt)


def plain_numpy(bundle: Bundle) -> Subject | None:
    """`act` of a plain network, feed-forward or a GRU, as one writes it by hand in numpy; None for all others.

    There is no `adapt`: nobody writes its gradient by hand. Imports nothing of torch, which would count as its own.
    """
    held = bundle.state.keys()
    write = _feed_forward if held >= _FEED_FORWARD else _recurrent if held >= _RECURRENT else None
    if write is None or bundle.manifest.privileged or (seen := _seen(bundle)) is None:
        return None
    tried = _in_units(bundle, write(bundle, seen))
    golden = bundle.golden
    found = [tried(*tick) for tick in zip(golden.obs, golden.noise, strict=True)]
    near = np.allclose(found, golden.action, rtol=1e-4, atol=1e-5 * float(np.abs(golden.action).max()))
    return Subject(_in_units(bundle, write(bundle, seen)), None) if near else None


def _seen(bundle: Bundle) -> _Seen | None:
    """None where that is no linear map."""
    found = bundle.manifest.provenance.get("inputs")
    if not isinstance(found, dict):
        return None
    matrix, offset = (np.array(found[name], np.float32) for name in ("matrix", "offset"))
    return _Seen(matrix, offset, str(found["activation"]), np.float32(found["sigma"]))  # type: ignore[arg-type]


def _feed_forward(bundle: Bundle, seen: _Seen) -> Tick:
    s = bundle.state
    layers = [
        (s[f"w{i}"], s[f"b{i}"][0]) for i in range(sum(name[0] == "w" and name[1:].isdigit() for name in s))
    ]
    *hidden, (last, last_bias) = layers
    scale, gain, sigma = s["scale"][0], s["gain"][0], np.maximum(s["sigma"][0], seen.sigma)
    bend, previous = _BEND[seen.activation], s["previous_action"]

    def step(obs: FloatArray, noise: FloatArray) -> FloatArray:
        nonlocal previous
        h = np.tanh(seen(obs, previous)) * scale
        for weight, bias in hidden:
            h = bend(h @ weight + bias)
        action: FloatArray = _bounded((h @ last + last_bias) * gain) + sigma * noise
        previous = np.clip(action, -1.0, 1.0)
        return action

    return step


def _recurrent(bundle: Bundle, seen: _Seen) -> Tick:
    s = bundle.state
    width, sigma = len(s["hidden"]), np.maximum(s["sigma"][0], seen.sigma)
    hidden, previous, begins = s["hidden"], s["previous_action"], s["begins"]

    def step(obs: FloatArray, noise: FloatArray) -> FloatArray:
        nonlocal hidden, previous, begins
        x = np.tanh(np.concatenate([seen(obs, previous), begins]))
        of_x, of_h = x @ s["input"] + s["input_bias"][0], hidden @ s["recurrent"] + s["recurrent_bias"][0]
        gates = _logistic(of_x[: 2 * width] + of_h[: 2 * width])
        r, z = gates[:width], gates[width:]
        n = np.tanh(of_x[2 * width :] + r * of_h[2 * width :])
        hidden = n + z * (hidden - n)
        direct = (x @ s["direct"]) * (hidden @ s["gain"] + s["gain_bias"][0])
        action: FloatArray = _bounded(hidden @ s["offset"] + s["offset_bias"][0] + direct) + sigma * noise
        previous, begins = np.clip(action, -1.0, 1.0), np.zeros_like(begins)
        return action

    return step


def _in_units(bundle: Bundle, step: Tick) -> Tick:
    """Actions in the channels' units, from those within −1 to 1."""
    low, high = (np.array(ends, np.float32) for ends in bundle.manifest.task.limits())
    center, half = 0.5 * (low + high), 0.5 * (high - low)
    if (center == 0.0).all() and (half == 1.0).all():
        return step
    return lambda obs, noise: step(obs, noise) * half + center


def _bounded(y: FloatArray) -> FloatArray:
    bounded: FloatArray = y / np.sqrt(1.0 + y * y)
    return bounded


def _logistic(x: FloatArray) -> FloatArray:
    found: FloatArray = 0.5 + 0.5 * np.tanh(0.5 * x)
    return found
