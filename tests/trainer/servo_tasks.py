"""Servos to test with, given by their physical parameters."""

from __future__ import annotations

import torch
from acclimate_trainer.tasks.servo.dynamics import ServoState, ServoTasks, coefficients, step
from acclimate_trainer.tasks.servo.family import ServoFamily
from acclimate_trainer.tasks.servo.ranges import MAX_LAG, ServoRanges
from torch import Tensor

FAMILY = ServoFamily(price=0.0)
MISWIRED = ServoFamily(preset="miswired")

# An MX-64 with a small load, as in BAM's model m1, at its nominal supply.
PLAIN = {
    "kt": 1.6225, "resistance": 3.9494, "voltage": 15.0, "inertia": 0.015, "coulomb": 0.09039, "viscous": 0.01169,
    "gravity": 0.0, "delay": 0.0, "polarity": 1.0, "noise": 0.0,
    "armature": 0.01,
}  # fmt: skip
FRICTIONLESS = {"coulomb": 0.0, "viscous": 0.0}


def family_of(ranges: ServoRanges) -> ServoFamily:
    """Servos drawn from these ranges."""
    return ServoFamily(ranges=ranges.as_dict())


def servos(**parameters: float | list[float]) -> ServoTasks:
    """One servo, or as many as the longest list has entries; what is not given is `PLAIN`'s."""
    columns = [torch.tensor(parameters.get(name, PLAIN[name])).reshape(-1, 1) for name in ServoTasks._fields]
    count = max(len(column) for column in columns)
    return ServoTasks(*(column.expand(count, 1) for column in columns))


def at(q: float | Tensor, omega: float | Tensor = 0.0) -> ServoState:
    """A servo at q rad, turning with omega rad/s; duty has been 0."""
    q_t = torch.as_tensor(q, dtype=torch.get_default_dtype()).reshape(-1, 1)
    omega_t = torch.as_tensor(omega, dtype=torch.get_default_dtype()).reshape(-1, 1).expand_as(q_t)
    return ServoState(q_t, omega_t, q_t, torch.zeros(*q_t.shape, MAX_LAG))


def drive(tasks: ServoTasks, start: ServoState, duties: list[float]) -> list[ServoState]:
    """States after each duty, without encoder noise."""
    c, states = coefficients(tasks), [start]
    for duty in duties:
        command = torch.full((*start.q.shape, 1), duty)
        states.append(step(states[-1], command, c, torch.zeros(())))
    return states[1:]


def positions(states: list[ServoState]) -> Tensor:
    """rad [tasks, ticks]"""
    return torch.stack([state.q.squeeze(1) for state in states], dim=1)
