"""Quadrotors in the air: what is true of each, and sessions on them; the equations: `dynamics`."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate_trainer.contract.family import Step
from acclimate_trainer.tasks.quadrotor.dynamics import Airframe, Body, airframe, moved, rotation, spun, unit

CONTROL_DT = 0.01  # s
LAGS = 3  # commands that a delay of up to two ticks reaches back to, the newest included
POSITION, VELOCITY, RATES = 20.0, 20.0, 60.0  # m, m/s and rad/s, at which readings and motion end
_FLYABLE = (5.0, 8.0, 35.0)  # the same, beyond which nothing is to be learned from what follows
NOISE = ((0.005, 3), (0.01, 3), (0.03, 3), (0.05, 3))
"""Standard deviations at a noise of 1, and how many: position m, attitude rad, velocity m/s, rates rad/s."""


class Drones(NamedTuple):
    """T quadrotors, each number (T, 1)."""

    thrust_to_weight: Tensor
    mass: Tensor  # kg
    torque_to_inertia: Tensor  # 1/s²
    arm: Tensor  # m, along either axis from the center to a rotor
    torque_constant: Tensor  # m, a rotor's torque about the third axis over its thrust
    rise: Tensor  # s, of a rotor's speed
    fall: Tensor  # s
    push_x: Tensor  # m/s²; a constant force, as of wind or an unbalanced load, over the mass
    push_y: Tensor
    push_z: Tensor
    drag: Tensor  # 1/s
    delay: Tensor  # s, from a command to the rotors
    noise: Tensor  # of the sensors, in units of `NOISE`

    @property
    def frame(self) -> Airframe:
        push = torch.cat([self.push_x, self.push_y, self.push_z], -1)
        yaw = self.torque_constant / self.arm
        numbers = (self.thrust_to_weight, self.torque_to_inertia, yaw, push, self.drag, self.rise, self.fall)
        return airframe(*numbers)


TOLD = Drones._fields[:-1]
"""What an oracle is told."""


class QuadrotorSession:
    """Quadrotors in the air, differentiable.

    `state`: a `Body`, the commands that are under way (T, E, LAGS − 1, 4), and how wrong the readings are (T, E, 12).

    There is neither ground nor wall; what comes as far as the readings go stays there. Of what is beyond the flyable no
    gradient is taken: a tumbling body has a large one, which says nothing of how to fly.
    """

    def __init__(self, drones: Drones, body: Body, noise: Tensor) -> None:
        """noise: (T, E, steps + 1, 12), in standard deviations."""
        self._drones = drones
        self._derive()
        first, *self._noise = noise.unbind(2)
        self._tick = 0
        begun = torch.stack([2.0 * body.rotors - 1.0] * (LAGS - 1), 2)
        self.state: tuple[Tensor, ...] = (*body, begun, self._scale * first)

    @property
    def obs(self) -> Tensor:
        body, wrong = Body(*self.state[:5]), self.state[6]
        of_position, of_attitude, of_velocity, of_rates = torch.split(wrong, [n for _, n in NOISE], -1)
        readings = (
            F.hardtanh(body.position + of_position, -POSITION, POSITION),
            rotation(unit(body.attitude + spun(body.attitude, 0.5 * of_attitude))).clamp(-1.0, 1.0),
            F.hardtanh(body.velocity + of_velocity, -VELOCITY, VELOCITY),
            F.hardtanh(body.rates + of_rates, -RATES, RATES),
        )
        return torch.cat(readings, -1)

    def step(self, action: Tensor) -> Step:
        body, under_way = Body(*self.state[:5]), self.state[5]
        commands = torch.cat([F.hardtanh(action).unsqueeze(2), under_way], 2)
        throttle = 0.5 + 0.5 * (commands * self._lag).sum(2)
        body = _flown(moved(body, throttle, self._frame, CONTROL_DT))
        self.state = (*body, commands[:, :, :-1], self._scale * self._noise[self._tick])
        self._tick += 1
        none = torch.zeros_like(body.position[..., 0])
        never = torch.zeros_like(none, dtype=torch.bool)
        return Step(none, never, never)

    def become(self, drones: Drones, where: Tensor) -> None:
        there = where.view(-1, 1)
        self._drones = Drones(*(torch.where(there, a, b) for a, b in zip(drones, self._drones, strict=True)))
        self._derive()

    def _derive(self) -> None:
        drones = self._drones
        self._frame = drones.frame
        lag = torch.arange(LAGS, dtype=drones.delay.dtype) - drones.delay / CONTROL_DT
        self._lag = (1.0 - lag.abs()).clamp_min(0.0).view(-1, 1, LAGS, 1)
        each = [std for std, n in NOISE for _ in range(n)]
        self._scale = (drones.noise * drones.noise.new_tensor(each)).unsqueeze(1)


def _flown(body: Body) -> Body:
    """Within where readings end; without a gradient where it is not flyable."""
    far = [x.detach().abs().amax(-1, keepdim=True) for x in (body.position, body.velocity, body.rates)]
    lost = torch.stack([x > most for x, most in zip(far, _FLYABLE, strict=True)]).any(0)
    held = body._replace(
        position=F.hardtanh(body.position, -POSITION, POSITION),
        velocity=F.hardtanh(body.velocity, -VELOCITY, VELOCITY),
        rates=F.hardtanh(body.rates, -RATES, RATES),
    )
    return Body(*(torch.where(lost, x.detach(), x) for x in held))
