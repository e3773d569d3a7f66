"""The regression of a head on frozen features: Bayesian, linear, recursive, and all of it products and sums.

With features Φ (N, F) of N transitions, what the head should have given there Y, and what was thought of the head
before, a Gaussian around W of precision Λ:

    Λ' = Λ + e·ΦᵀΦ/N,      W' = W + Λ'⁻¹·e·Φᵀ(Y − ΦW)/N

which is the posterior of linear regression (Bishop 2006, equations 3.50 and 3.51), written by what the head lacks:
where nothing is lacking, nothing is rounded. e says how much a whole window counts. Λ is never smaller than the
prior's, and features are within ±1, so that float32 does.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from acclimate_trainer.algorithms.maml.ridge import inverse_spd


class Fitted(NamedTuple):
    """A head after a window, and the mean square of what the head before it and this one lack there, (T,)."""

    head: Tensor  # (T, F, n_act)
    precision: Tensor  # (T, F, F)
    before: Tensor
    left: Tensor


def fit(
    head: Tensor, precision: Tensor, phi: Tensor, wanted: Tensor, weight: Tensor, evidence: Tensor
) -> Fitted:
    """head (T, F, n_act) and precision (T, F, F) before; phi (T, N, F), wanted (T, N, n_act), weight (T, N) of 0 or 1.

    evidence: e, (T, 1, 1) or what broadcasts to it.
    """
    count = weight.sum(-1).clamp_min(1.0)  # (T,)
    seen = phi * weight.unsqueeze(-1)
    share = evidence * (weight.mean(-1) / count)[:, None, None]
    across = seen.transpose(1, 2)
    after = precision + share * (across @ phi)
    rest = wanted - phi @ head
    step = inverse_spd(after) @ (share * (across @ rest))
    lacking = [(each.square().sum(-1) * weight).sum(-1) / count for each in (rest, rest - phi @ step)]
    return Fitted(head + step, after, *lacking)
