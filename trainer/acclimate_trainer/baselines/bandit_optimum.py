"""Bernoulli bandits of a few pulls, solved exactly: no agent can earn more on average.

With p ~ U(0, 1) the posterior of an arm with w wins and l losses is Beta(1 + w, 1 + l), and the optimal return
obeys Bellman's equation over these counts (Bellman, "A problem in the sequential design of experiments", 1956):

    V(counts) = max over arms i of  m_i·(1 + V(counts with a win of i)) + (1 − m_i)·V(counts with a loss of i),
    m_i = (1 + w_i)/(2 + w_i + l_i)

Arms are exchangeable, so a state is the multiset of its arms' counts, and arms that no trial can reach are left
out: 2,296 states for 10 pulls of 10 or more arms.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from acclimate.errors import UsageError
from numpy.typing import NDArray

Counts = NDArray[np.int64]
MOST_STATES = 300_000


class Layer(NamedTuple):
    """All states after so many pulls, sorted by key."""

    key: Counts  # (M,)
    value: NDArray[np.float64]  # optimal return of what is left (M,)
    best: Counts  # code of an arm that is best to pull (M,)


class BanditOptimum:
    """The optimal policy of `pulls` pulls of `arms` arms, and what it earns."""

    value: float  # expected return of a trial

    def __init__(self, arms: int, pulls: int) -> None:
        """Raises UsageError for a bandit that is too large."""
        if arms < 1 or pulls < 1:
            raise UsageError(f"a bandit needs at least one arm and one pull, found {arms} and {pulls}")
        self._slots = min(arms, pulls)
        total = np.repeat(np.arange(pulls), np.arange(1, pulls + 1))
        wins = np.arange(len(total)) - _code(np.zeros_like(total), total)
        if len(total) ** self._slots >= 2**63:
            raise _too_large(arms, pulls)
        self._weights = len(total) ** np.arange(self._slots, dtype=np.int64)
        self._mean = (1 + wins) / (2 + total)
        self._won, self._lost = _code(wins + 1, total - wins), _code(wins, total - wins + 1)
        keys = [np.zeros(1, np.int64)]
        for _ in range(pulls - 1):
            keys.append(np.unique(np.concatenate(self._children(self._codes(keys[-1])), axis=None)))
            if sum(map(len, keys)) > MOST_STATES:
                raise _too_large(arms, pulls)
        self._layers = self._solve(keys)
        self.value = float(self._layers[0].value[0])

    def choose(self, wins: Counts, losses: Counts) -> Counts:
        """The arm to pull, (N,), for counts (N, k) of trials that are all equally far, one pull left at least."""
        codes = _code(wins, losses)
        layer = self._layers[int(wins[0].sum() + losses[0].sum())]
        state = np.searchsorted(layer.key, self._key(codes))
        arm: Counts = np.argmax(codes == layer.best[state, None], axis=1)
        return arm

    def _solve(self, keys: list[Counts]) -> list[Layer]:
        """Backward induction, a whole layer at once."""
        layers: list[Layer] = []
        for key in reversed(keys):
            codes = self._codes(key)
            q = self._mean[codes]  # (M, slots)
            if layers:
                after = layers[-1]
                won, lost = (after.value[np.searchsorted(after.key, c)] for c in self._children(codes))
                q = q * (1 + won) + (1 - q) * lost
            slot = q.argmax(1)
            layers.append(Layer(key, q.max(1), codes[np.arange(len(key)), slot]))
        return layers[::-1]

    def _children(self, codes: Counts) -> tuple[Counts, Counts]:
        """Keys of the states that a win and a loss of each arm lead to, (M, slots) each."""
        out = []
        for after in (self._won, self._lost):
            states = np.repeat(codes[:, None], self._slots, axis=1)  # (M, slots, slots)
            slot = np.arange(self._slots)
            states[:, slot, slot] = after[codes]
            out.append(self._key(states))
        return out[0], out[1]

    def _key(self, codes: Counts) -> Counts:
        """Codes (…, k) in any order as one number; beyond `slots` arms the rest are untried, code 0."""
        ordered = np.sort(codes, axis=-1)[..., -self._slots :]
        keys: Counts = ordered @ self._weights
        return keys

    def _codes(self, keys: Counts) -> Counts:
        """The inverse of `_key`: (M, slots)."""
        return keys[:, None] // self._weights % len(self._mean)


def _code(wins: Counts, losses: Counts) -> Counts:
    """Pairs of counts, numbered along the diagonals of equal total."""
    total = wins + losses
    return total * (total + 1) // 2 + wins


def _too_large(arms: int, pulls: int) -> UsageError:
    return UsageError(
        f"a bandit of {arms} arms and {pulls} pulls has too many states to be solved exactly; "
        "10 pulls of any number of arms, or 40 pulls of 2 arms, can be"
    )
