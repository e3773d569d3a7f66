"""Q-learning and successor-feature Q-learning on a sequence of tasks in four rooms, each readable top to bottom.

All see the same (`FourRooms.observe`), in tables, explore ε-greedily, and learn online from every transition. n
agents with tasks of their own play side by side, so that step sizes may be one number or one for each agent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from acclimate_trainer.tasks.four_rooms import (
    MEAN_TASK,
    N_ACTIONS,
    N_FEATURES,
    Flags,
    Floats,
    FourRooms,
    Indices,
)

GAMMA = 0.95
TENTHS = 10  # in which the reward of a task is recorded
_LEAST = 1e-6  # a difference between values that is none: chance decides
_BLOCK = 1000  # steps whose random numbers are drawn together


class Settings(NamedTuple):
    """What is tuned, for every player alike; numbers, or arrays (n,)."""

    rate: float | Floats
    """Step size α of Q or ψ."""
    epsilon: float | Floats
    """Share of actions that are uniformly random."""
    optimism: float | Floats = 0.0
    """What every action is thought to be worth at first; above 0 it leads to where nothing has been tried yet."""


def q_learning(
    rooms: FourRooms, tasks: Floats, steps: int, settings: Settings, rng: np.random.Generator, *, carry: bool
) -> Floats:
    """Q-learning (Watkins 1989) on `tasks` (K, n, 4), `steps` transitions each.

    Gives the reward of every tenth of each task, (K, 10, n).
    `carry`: go on with the table of the task before, instead of from scratch.
    """
    n, agent = tasks.shape[1], np.arange(tasks.shape[1])
    q = np.zeros((n, rooms.n_states, N_ACTIONS), np.float32)
    earned = np.zeros((len(tasks), TENTHS, n), np.float32)
    for k, w in enumerate(tasks):
        if k == 0 or not carry:
            q[:] = np.reshape(settings.optimism, (-1, 1, 1))
        state = rooms.reset(n)
        s = rooms.observe(state)
        for t, chance in enumerate(_chances(steps, n, rng)):
            best = (q[agent, s] + _LEAST * chance[:, 1:]).argmax(1)
            a = np.where(chance[:, 0] < settings.epsilon, chance[:, 1:].argmax(1), best)
            step = rooms.step(state, a)
            reward = (step.features * w).sum(1)
            arrived = rooms.observe(step.state)
            target = reward + GAMMA * ~step.terminated * q[agent, arrived].max(1)
            q[agent, s, a] += settings.rate * (target - q[agent, s, a])
            earned[k, TENTHS * t // steps] += reward
            state = rooms.again(step)
            s = rooms.observe(state)
    return earned


def sfql(
    rooms: FourRooms,
    tasks: Floats,
    steps: int,
    settings: Settings,
    rng: np.random.Generator,
    *,
    told: Flags | bool = False,
) -> Floats:
    """Successor-feature Q-learning (Barreto et al. 2017, algorithm 3), with one policy more in each task.

    `told` (n,): who is told w; the others infer it from rewards. Since φ is an indicator and r without noise, least
    squares means that a feature is worth what it last came with; until it comes, w is the family's mean.
    Arguments and result else as of `q_learning`.
    """
    n, agent = tasks.shape[1], np.arange(tasks.shape[1])
    psi = np.zeros((n, rooms.n_states, len(tasks), N_ACTIONS, N_FEATURES), np.float32)
    rate = np.reshape(settings.rate, (-1, 1))
    psi[:, :, 0, :, -1] = np.reshape(settings.optimism, (-1, 1, 1))  # the goal's
    rows = psi.reshape(n, rooms.n_states, len(tasks), -1)  # the same memory, faster to read
    learned = np.zeros((len(tasks), n, N_FEATURES), np.float32)  # w of every policy's own task
    earned = np.zeros((len(tasks), TENTHS, n), np.float32)
    for k, w_true in enumerate(tasks):
        psi[:, :, k] = psi[:, :, max(k - 1, 0)]  # a new policy begins as the last one
        library = rows[:, :, : k + 1]
        w = np.where(np.broadcast_to(told, n)[:, None], w_true, MEAN_TASK)
        state = rooms.reset(n)
        s = rooms.observe(state)
        for t, chance in enumerate(_chances(steps, n, rng)):
            policy, best = _gpi(library[agent, s], w, chance[:, 1:])
            a = np.where(chance[:, 0] < settings.epsilon, chance[:, 1:].argmax(1), best)
            step = rooms.step(state, a)
            phi = step.features
            reward = (phi * w_true).sum(1)
            w = w + phi * (reward - (phi * w).sum(1))[:, None]
            learned[k] = w

            arrived = rooms.observe(step.state)
            gamma = (GAMMA * ~step.terminated)[:, None]
            _, ahead = _gpi(library[agent, arrived], w, chance[:, 1:])
            target = phi + gamma * psi[agent, arrived, k, ahead]
            # The policy followed, where it is another, learns of its own task, too.
            _, own = _gpi(rows[agent, arrived, policy][:, None], learned[policy, agent], chance[:, 1:])
            target_followed = phi + gamma * psi[agent, arrived, policy, own]
            psi[agent, s, k, a] += rate * (target - psi[agent, s, k, a])
            error = target_followed - psi[agent, s, policy, a]
            psi[agent, s, policy, a] += rate * (policy != k)[:, None] * error

            earned[k, TENTHS * t // steps] += reward
            state = rooms.again(step)
            s = rooms.observe(state)
    return earned


def _gpi(psi: Floats, w: Floats, chance: Floats) -> tuple[Indices, Indices]:
    """The policy and the action (n,) of the largest ψᵀw, at random among equals.

    psi: of P policies, (n, P, A·4); w (n, 4); `chance` (n, A) is uniform.
    """
    q = (psi.reshape(len(w), -1, N_FEATURES) @ w[:, :, None]).reshape(len(w), -1, N_ACTIONS)
    pair = (q + _LEAST * chance[:, None]).reshape(len(w), -1).argmax(1)  # policy · A + action
    return pair // N_ACTIONS, pair % N_ACTIONS


def _chances(steps: int, n: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Uniform numbers (n, 1 + A) for every step."""
    for begin in range(0, steps, _BLOCK):
        yield from rng.random((min(_BLOCK, steps - begin), n, 1 + N_ACTIONS), dtype=np.float32)
