"""Bodies with four rotors: the equations of `l2f` (Eschmann et al. 2024, "Learning to Fly in Seconds"), and drag.

The body's axes are forward, left and up; the world's third axis points up. Rotors are numbered as in `l2f`: front
right, back right, back left, front left. With r the rotors' speed, of the largest one,

    p' = v,      v' = R(q)·e₃·Σ f(r) + push − g·e₃ − drag·v
    q' = ½ q ⊗ (0, ω),      ω' = J⁻¹(τ(f(r)) − ω × Jω),      r' = (u − r)/(rise or fall)

where f(r) = c₀ + c₁·r + c₂·r² is a rotor's thrust. A period is one step of the classical Runge-Kutta method.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

GRAVITY = 9.81  # m/s²
THRUST = (0.00352526, 0.01437313, 0.09223048)  # N, of the base's rotors: c₀, c₁, c₂
INERTIA = (9.416556729130406e-06, 9.644051701582312e-06, 1.745951732253285e-05)  # kg·m², of the base
ARM = 0.028  # m; along either axis from the base's center to a rotor
MASS = 0.0306  # kg, of the base: a Crazyflie 2.1
MIXER = ((-1.0, -1.0, -1.0), (-1.0, 1.0, 1.0), (1.0, 1.0, -1.0), (1.0, -1.0, 1.0))
"""Which way each rotor turns the body about its axes."""

_RATIOS = (INERTIA[0] / INERTIA[1], INERTIA[0] / INERTIA[2])
_GYRO = (
    (INERTIA[1] - INERTIA[2]) / INERTIA[0],
    (INERTIA[2] - INERTIA[0]) / INERTIA[1],
    (INERTIA[0] - INERTIA[1]) / INERTIA[2],
)
_FULL = sum(THRUST)


class Body(NamedTuple):
    """Bodies, or the rates at which they change."""

    position: Tensor  # m (T, E, 3)
    velocity: Tensor  # m/s, of the world (T, E, 3)
    attitude: Tensor  # unit quaternion, the real part first (T, E, 4)
    rates: Tensor  # rad/s, of the body (T, E, 3)
    rotors: Tensor  # of the largest speed (T, E, 4)


class Airframe(NamedTuple):
    """What the equations need of T machines, each (T, 1, …)."""

    thrust: Tensor  # m/s², all four rotors' share of the mass at full speed (1)
    torque: Tensor  # rad/s² about each axis, of one rotor at full thrust (3)
    push: Tensor  # m/s², gravity included (3)
    drag: Tensor  # 1/s (1)
    rise: Tensor  # 1/s (1)
    fall: Tensor  # 1/s (1)


def airframe(
    thrust_to_weight: Tensor,
    torque_to_inertia: Tensor,
    yaw: Tensor,
    push: Tensor,
    drag: Tensor,
    rise: Tensor,
    fall: Tensor,
) -> Airframe:
    """From physical numbers (T, 1), the push (T, 3). yaw: a rotor's torque constant over its distance along an axis.

    A torque to inertia, 1/s², is that of two rotors at full thrust on one side, about the first axis, over √2 (`l2f`).
    """
    roll = torque_to_inertia / 2.0**0.5
    torque = torch.cat([roll, roll * _RATIOS[0], roll * yaw * _RATIOS[1]], -1)
    fallen = push - push.new_tensor([0.0, 0.0, GRAVITY])
    each = (GRAVITY / 4.0 * thrust_to_weight, torque, fallen, drag, 1.0 / rise, 1.0 / fall)
    return Airframe(*(x.unsqueeze(1) for x in each))


def moved(body: Body, throttle: Tensor, frame: Airframe, h: float) -> Body:
    """h seconds later, under throttles (T, E, 4) within 0 and 1."""
    lag = torch.where(throttle >= body.rotors, frame.rise, frame.fall)  # 1/s; a rotor never overshoots
    k1 = change(body, throttle, lag, frame)
    k2 = change(_after(body, k1, 0.5 * h), throttle, lag, frame)
    k3 = change(_after(body, k2, 0.5 * h), throttle, lag, frame)
    k4 = change(_after(body, k3, h), throttle, lag, frame)
    mean = Body(*((a + 2.0 * (b + c) + d) / 6.0 for a, b, c, d in zip(k1, k2, k3, k4, strict=True)))
    return _normal(_after(body, mean, h))


def change(body: Body, throttle: Tensor, lag: Tensor, frame: Airframe) -> Body:
    """The equations of motion."""
    r = body.rotors
    thrust = (THRUST[0] + r * (THRUST[1] + r * THRUST[2])) / _FULL  # of a rotor's largest
    lift = frame.thrust * thrust.sum(-1, keepdim=True)
    acceleration = up(body.attitude) * lift + frame.push - frame.drag * body.velocity
    turning = torch.matmul(thrust, thrust.new_tensor(MIXER)) * frame.torque
    return Body(
        body.velocity,
        acceleration,
        spun(body.attitude, 0.5 * body.rates),
        turning + _gyroscopic(body.rates),
        lag * (throttle - r),
    )


def up(attitude: Tensor) -> Tensor:
    """Where the body's third axis points, (…, 3)."""
    w, x, y, z = attitude.unbind(-1)
    return torch.stack([2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)], -1)


def rotation(attitude: Tensor) -> Tensor:
    """The rotation from body to world, row by row, (…, 9)."""
    w, x, y, z = attitude.unbind(-1)
    rows = (
        (1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)),
        (2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)),
        (2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)),
    )
    return torch.stack([entry for row in rows for entry in row], -1)


def spun(attitude: Tensor, by: Tensor) -> Tensor:
    """The product q ⊗ (0, by) of quaternions (…, 4) and vectors (…, 3)."""
    w, x, y, z = attitude.unbind(-1)
    a, b, c = by.unbind(-1)
    parts = (
        -x * a - y * b - z * c,
        w * a + y * c - z * b,
        w * b + z * a - x * c,
        w * c + x * b - y * a,
    )
    return torch.stack(parts, -1)


def unit(attitude: Tensor) -> Tensor:
    """Of length one."""
    return attitude * torch.rsqrt(attitude.square().sum(-1, keepdim=True))


def _gyroscopic(rates: Tensor) -> Tensor:
    a, b, c = rates.unbind(-1)
    return torch.stack([_GYRO[0] * b * c, _GYRO[1] * c * a, _GYRO[2] * a * b], -1)


def _after(body: Body, rate: Body, h: float) -> Body:
    return Body(*(x + h * dx for x, dx in zip(body, rate, strict=True)))


def _normal(body: Body) -> Body:
    return body._replace(attitude=unit(body.attitude), rotors=body.rotors.clamp(0.0, 1.0))
