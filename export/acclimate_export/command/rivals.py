"""What `acclimate bench` compares engines with on a desktop: the same policy in torch, and written out in numpy.

Each is a function from a bundle to what is measured; see `acclimate.command.bench.subjects`.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from acclimate.arrays import FloatArray
from acclimate.bundle.file import Bundle
from acclimate.command.bench.subjects import Subject
from acclimate.errors import UsageError

_NETWORK = {"w0", "b0", "w1", "b1", "w2", "b2", "scale", "gain", "sigma", "previous_action"}
_SCALES = np.array(
    [6.0, 0.12, 0.4, 0.4, 0.7], np.float32
)  # of the features, as in `acclimate_trainer.networks.feedforward`
_SIGMA_FLOOR = 0.1  # as there


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
    """`act` of the plain network as one writes it by hand in numpy; None where that is not what the bundle computes.

    There is no `adapt`: nobody writes its gradient by hand. Imports nothing of torch, which would count as its own.
    """
    s, golden = bundle.state, bundle.golden
    if not s.keys() >= _NETWORK or bundle.manifest.privileged:
        return None
    w0, b0, w1, b1, w2, b2 = (s[f"{kind}{i}"] for i in range(3) for kind in ("w", "b"))
    scale, gain, sigma = s["scale"][0], s["gain"][0], np.maximum(s["sigma"][0], _SIGMA_FLOOR)
    previous = s["previous_action"]

    def act(obs: FloatArray, noise: FloatArray) -> FloatArray:
        nonlocal previous
        position, velocity, target, target_velocity = obs
        seen = np.array([target - position, velocity, target_velocity, position, previous[0]], np.float32)
        h = np.tanh(np.tanh(seen * _SCALES) * scale @ w0 + b0[0])
        h = np.tanh(h @ w1 + b1[0])
        y = (h @ w2 + b2[0]) * gain
        action: FloatArray = y / np.sqrt(1.0 + y * y) + sigma * noise
        previous = np.clip(action, -1.0, 1.0)
        return action

    found = [act(*tick).copy() for tick in zip(golden.obs, golden.noise, strict=True)]
    previous = s["previous_action"]  # as new, after this check
    return Subject(act, None) if np.allclose(found, golden.action, rtol=1e-4, atol=1e-5) else None
