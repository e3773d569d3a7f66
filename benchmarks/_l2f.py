"""Quadrotors of the family in `l2f`, the simulator that RAPTOR was trained in, and RAPTOR's published policy.

Neither is a part of Acclimate: `pip install l2f foundation-policy h5py importlib_resources`, for the benchmark only.
`l2f` samples no parameters unless it was compiled to, so each drone's are given to it, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import import_module
from typing import Protocol, TypeAlias, cast

import numpy as np
from acclimate.fields import Json
from acclimate_trainer.tasks.quadrotor.dynamics import GRAVITY, INERTIA, MIXER, THRUST, Body
from acclimate_trainer.tasks.quadrotor.session import Drones
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.harness import BenchmarkError

Floats: TypeAlias = NDArray[np.float32]
SIMULATOR = "l2f"


class Drone(Protocol):
    """Of one drone in `l2f`."""

    position: Floats
    orientation: Floats
    linear_velocity: Floats
    angular_velocity: Floats
    rpm: Floats

    def assign(self, other: Drone) -> None: ...


class Simulator(Protocol):
    """The module, as far as it is used."""

    def Device(self) -> object: ...  # noqa: N802
    def Environment(self) -> object: ...  # noqa: N802
    def Rng(self) -> object: ...  # noqa: N802
    def Parameters(self) -> object: ...  # noqa: N802
    def State(self) -> Drone: ...  # noqa: N802
    def initialize_environment(self, device: object, environment: object) -> None: ...
    def initialize_rng(self, device: object, rng: object, seed: int) -> None: ...
    def initial_parameters(self, device: object, environment: object, parameters: object) -> None: ...
    def parameters_to_json(self, device: object, environment: object, parameters: object) -> str: ...
    def parameters_from_json(
        self, device: object, environment: object, text: str, parameters: object
    ) -> None: ...
    def step(
        self,
        device: object,
        environment: object,
        parameters: object,
        state: Drone,
        action: list[float],
        following: Drone,
        rng: object,
    ) -> float: ...


class Raptor(Protocol):
    """RAPTOR's policy, for as many drones as its first observations are of."""

    def reset(self) -> None: ...
    def evaluate_step(self, observation: Floats) -> Floats: ...


def raptor() -> Raptor:
    """The published policy: 2,084 parameters, of 22 numbers."""
    made = _module("foundation_policy").Raptor  # type: ignore[attr-defined]
    return cast(Raptor, made())


class Fleet:
    """Drones in `l2f`, one state each. What it has no name for, a constant force, is given to it as gravity."""

    def __init__(self, drones: Drones, body: Body, dt: float = 0.01) -> None:
        """`drones` have neither drag, delay nor noise there. Raises BenchmarkError where `l2f` is not installed."""
        self._l2f = l2f = cast(Simulator, _module(SIMULATOR))
        self._device, self._environment, self._rng = l2f.Device(), l2f.Environment(), l2f.Rng()
        l2f.initialize_environment(self._device, self._environment)
        l2f.initialize_rng(self._device, self._rng, 0)
        base = l2f.Parameters()
        l2f.initial_parameters(self._device, self._environment, base)
        tree = json.loads(l2f.parameters_to_json(self._device, self._environment, base))
        tree["integration"]["dt"] = dt
        self._parameters = [self._made(tree, dynamics) for dynamics in _dynamics(drones)]
        self._states = [_placed(l2f.State(), *row) for row in zip(*(_rows(x) for x in body), strict=True)]
        self._spare = l2f.State()

    def _made(self, tree: dict[str, Json], dynamics: dict[str, Json]) -> object:
        parameters = self._l2f.Parameters()
        base = tree["dynamics"]
        assert isinstance(base, dict)
        text = json.dumps({**tree, "dynamics": {**base, **dynamics}})
        self._l2f.parameters_from_json(self._device, self._environment, text, parameters)
        return parameters

    def step(self, action: Floats) -> None:
        """One period under (n, 4), within ±1."""
        for parameters, state, one in zip(self._parameters, self._states, action.tolist(), strict=True):
            self._l2f.step(self._device, self._environment, parameters, state, one, self._spare, self._rng)
            state.assign(self._spare)

    def body(self) -> tuple[Floats, ...]:
        """Position, velocity, attitude, rates and rotors of all, (n, …)."""
        columns = [
            (s.position, s.linear_velocity, s.orientation, s.angular_velocity, s.rpm) for s in self._states
        ]
        return tuple(np.array(column, np.float32) for column in zip(*columns, strict=True))


def _module(name: str) -> object:
    """Raises BenchmarkError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise BenchmarkError(
            f"this benchmark compares with RAPTOR in its own simulator, and {error.name or name} is not installed: "
            "pip install l2f==2.0.18 foundation-policy==1.0.2 h5py importlib_resources"
        ) from None


def _rows(x: Tensor) -> Floats:
    return x.numpy().reshape(-1, x.shape[-1])


def _placed(state: Drone, *row: Floats) -> Drone:
    state.position, state.linear_velocity, state.orientation, state.angular_velocity, state.rpm = row
    return state


def _dynamics(drones: Drones) -> Iterable[dict[str, Json]]:
    """What differs from the base, drone by drone."""
    columns = {name: np.asarray(x, np.float64)[:, 0].tolist() for name, x in drones._asdict().items()}
    for values in zip(*columns.values(), strict=True):
        yield _one(dict(zip(columns, values, strict=True)))


def _one(drone: dict[str, float]) -> dict[str, Json]:
    mass, arm = drone["mass"], drone["arm"]
    full = drone["thrust_to_weight"] * mass * GRAVITY / 4.0  # N, of a rotor
    inertia = [2.0**0.5 * arm * full / drone["torque_to_inertia"] * x / INERTIA[0] for x in INERTIA]
    coefficients: list[Json] = [full * c / sum(THRUST) for c in THRUST]
    pushes = [drone[f"push_{axis}"] for axis in "xyz"]
    return {
        "mass": mass,
        "rotor_positions": [[-arm * pitch, arm * roll, 0.0] for roll, pitch, _ in MIXER],
        "rotor_thrust_coefficients": [coefficients] * 4,
        "rotor_torque_constants": [drone["torque_constant"]] * 4,
        "rotor_time_constants_rising": [drone["rise"]] * 4,
        "rotor_time_constants_falling": [drone["fall"]] * 4,
        "gravity": [pushes[0], pushes[1], pushes[2] - GRAVITY],
        "J": [[inertia[i] if i == j else 0.0 for j in range(3)] for i in range(3)],
        "J_inv": [[1.0 / inertia[i] if i == j else 0.0 for j in range(3)] for i in range(3)],
    }
