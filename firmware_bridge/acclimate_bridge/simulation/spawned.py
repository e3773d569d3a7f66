"""The device `sim:`: a simulated machine in a process of its own, which ends with the device."""

from __future__ import annotations

import contextlib

from acclimate.control.devices import DeviceRequest

from acclimate_bridge.link.wired import WiredDevice
from acclimate_bridge.simulation.spawn import simulated_port

_PREFIX = "simulating "


class SpawnedDevice(WiredDevice):
    """A simulated machine, behind the same link as a real one."""

    def __init__(self, request: DeviceRequest) -> None:
        """As `open_simulated`."""
        address, bundle = request.address, request.bundle
        arguments = [str(bundle.path)] if bundle else []
        if address.where or bundle:
            arguments.append(f"--task={address.where}")
        arguments.append(f"--seed={int(address.number('seed', 0, 0, 2**63))}")
        with contextlib.ExitStack() as stack:
            port = stack.enter_context(simulated_port(*arguments))
            self._simulates = port.described.removeprefix(_PREFIX)
            super().__init__(port.port, request.clock, request.tell)
            self._process = stack.pop_all()

    @property
    def simulates(self) -> str:
        """Which machine, in words."""
        return self._simulates

    def close(self) -> None:
        """Stop it, and end its process."""
        super().close()
        self._process.close()


def open_simulated(request: DeviceRequest) -> SpawnedDevice:
    """sim:MACHINE?seed=0, an `acclimate.control.devices.Opener`. Raises UsageError for a machine that there is not."""
    request.address.allow("seed")
    return SpawnedDevice(request)
