"""What a bundle's network sees, as plain numbers, where that is a linear map of observation and previous action.

It goes into the provenance, for whoever writes a policy out by hand, as `acclimate bench` does in numpy.
"""

from __future__ import annotations

import torch
from acclimate.fields import Json
from acclimate_trainer.networks.feedforward import SIGMA_FLOOR
from acclimate_trainer.networks.view import PREVIOUS

from acclimate_export.bundle.trained import Trained

_TRIED = 64  # random observations on which it has to be linear
_NEAR = 1e-4


def plain_inputs(trained: Trained) -> Json:
    """`matrix` (n_obs + n_act, n_in) and `offset` (n_in,), before the tanh; None where the inputs are no linear map.

    Beside them the `activation` of the hidden layers, and the least `sigma`.
    """
    spec, inputs = trained.family.spec, trained.family.inputs
    offset = inputs(torch.zeros(1, spec.n_obs))
    matrix = inputs(torch.eye(spec.n_obs)) - offset
    tried = 3.0 * torch.randn(_TRIED, spec.n_obs, generator=torch.Generator().manual_seed(0))
    found, expected = tried @ matrix + offset, inputs(tried)
    if not torch.allclose(found, expected, rtol=_NEAR, atol=_NEAR * float(expected.abs().max())):
        return None
    of_action = PREVIOUS * torch.eye(spec.n_act)
    whole = torch.zeros(spec.n_obs + spec.n_act, matrix.shape[1] + spec.n_act)
    whole[: spec.n_obs, : matrix.shape[1]], whole[spec.n_obs :, matrix.shape[1] :] = matrix, of_action
    return {
        "matrix": whole.tolist(),
        "offset": [*offset[0].tolist(), *[0.0] * spec.n_act],
        "activation": getattr(getattr(trained.config, trained.config.algorithm), "activation", "tanh"),
        "sigma": SIGMA_FLOOR,
    }
