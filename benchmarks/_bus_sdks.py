"""The makers' own SDKs, as contestants: one cycle of goals and readings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import dynamixel_sdk
import scservo_sdk
from acclimate_bridge.bus.models import TABLES, Family
from acclimate_bridge.bus.registers import Register

BAUD = 1_000_000


class Calls(Protocol):
    """Somebody who speaks with servos."""

    def cycle(self) -> bool:
        """A goal for each, and a reading of each; whether all of them came."""
        ...

    def close(self) -> None: ...


class _Sdk:
    def __init__(self, module: Any, protocol: float, family: Family, port: str, ids: Iterable[int]) -> None:
        self.module, self.table, self.ids = module, TABLES[family], list(ids)
        self.port, self.packets = module.PortHandler(port), module.PacketHandler(protocol)
        self.port.openPort()
        self.port.setBaudRate(BAUD)
        for number in self.ids:
            self._set(number, "return_delay", 0)

    def close(self) -> None:
        self.port.closePort()

    def _set(self, number: int, name: str, value: int) -> bool:
        register = self.table.register(name)
        data = register.encode(value)
        return self._good(self.packets.writeTxRx(self.port, number, register.address, register.size, data)[0])

    def _good(self, result: int) -> bool:
        if result != self.module.COMM_SUCCESS:
            self.port.is_using = False  # it stays so after some failures, and then nothing is sent any more
            return False
        return True


class Plain(_Sdk):
    """A call for each servo and register, as in the makers' examples."""

    def cycle(self) -> bool:
        good = [self._exchanged(number) for number in self.ids]  # of all of them, also after one that failed
        return all(good)

    def _exchanged(self, number: int) -> bool:
        good = self._set(number, "goal_duty", 0)
        for name in ("position", "velocity"):
            register: Register = self.table.register(name)
            found = self.packets.readTxRx(self.port, number, register.address, register.size)
            good = self._good(found[1]) and good
        return good


class Grouped(_Sdk):
    """One group write and one group read."""

    def __init__(self, module: Any, protocol: float, family: Family, port: str, ids: Iterable[int]) -> None:
        super().__init__(module, protocol, family, port, ids)
        goal, (start, length) = self.table.register("goal_duty"), self.table.fast
        self.write = module.GroupSyncWrite(self.port, self.packets, goal.address, goal.size)
        self.read = module.GroupSyncRead(self.port, self.packets, start, length)
        for number in self.ids:
            self.write.addParam(number, goal.encode(0))
            self.read.addParam(number)

    def cycle(self) -> bool:
        good = self._good(self.write.txPacket())
        return self._good(self.read.txRxPacket()) and good


Made = Callable[[str, Iterable[int]], Calls]


def _of(family: Family) -> Mapping[str, Made]:
    dynamixel = family is Family.DYNAMIXEL
    module, protocol = (dynamixel_sdk, 2.0) if dynamixel else (scservo_sdk, 0.0)
    return {
        "sdk": lambda port, ids: Plain(module, protocol, family, port, ids),
        "sdk_sync": lambda port, ids: Grouped(module, protocol, family, port, ids),
    }


SDKS: Mapping[Family, Mapping[str, Made]] = {family: _of(family) for family in Family}
