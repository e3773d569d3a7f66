"""What servos measure, tick by tick and more slowly, and what of it is a fault."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from acclimate_bridge.bus import models
from acclimate_bridge.bus.limbs import Limb, volts
from acclimate_bridge.bus.models import TABLES, Family
from acclimate_bridge.bus.port import Answer, Missed, ServoPort

_EACH = 5  # values of a joint: position, velocity, current, voltage, temperature
_ALERT = 0x80
_TRIPPED = 0xFF  # what a bus watchdog is then
_LONG = 10  # readings in a row beyond the current that it may draw


class Reading(NamedTuple):
    """values: of all joints in the order of the plan's sensors. faults: in the servos' own words."""

    values: list[float]
    faults: tuple[str, ...]


class Watch:
    """Reads all servos in one exchange a tick, and one of the slow blocks now and then."""

    def __init__(self, port: ServoPort, limbs: Sequence[Limb]) -> None:
        self.port, self.limbs = port, limbs
        self.ids = [limb.joint.id for limb in limbs]
        self.table = TABLES[port.family]
        self.values = [math.nan] * (_EACH * len(limbs))
        self.angles = [math.nan] * len(limbs)
        self.on = False  # whether their torque should be
        self._strong = [0] * len(limbs)
        self._turn = 0
        longest = max(length for _, length in (self.table.fast, *self.table.slow))
        port.expect(len(limbs), longest)

    @property
    def slow_every(self) -> float:
        """s between two slow blocks, so that each comes once a second."""
        return 1.0 / len(self.table.slow)

    def fast(self) -> Reading:
        """Positions, velocities and, where they are near, currents. Raises Missed."""
        start, length = self.table.fast
        answers = self.port.sync_read(self.ids, start, length)
        faults: list[str] = []
        for i, (limb, answer) in enumerate(zip(self.limbs, answers, strict=True)):
            self._take(i, limb, answer, start)
            faults += self._alarms(limb, answer)
            faults += self._overcurrent(i, limb)
        return Reading(list(self.values), tuple(faults))

    def slow(self) -> tuple[str, ...]:
        """The next of the slow blocks; what is wrong. Raises Missed."""
        start, length = self.table.slow[self._turn]
        self._turn = (self._turn + 1) % len(self.table.slow)
        answers = self.port.sync_read(self.ids, start, length)
        faults: list[str] = []
        for i, (limb, answer) in enumerate(zip(self.limbs, answers, strict=True)):
            faults += self._slow(i, limb, answer.data, range(start, start + length))
        return tuple(faults)

    def missing(self) -> str:
        """Who does not answer, found by asking one after the other."""
        silent = []
        for limb in self.limbs:
            try:
                if self.port.ping(limb.joint.id) or self.port.ping(limb.joint.id):
                    continue
                silent.append(f"{limb.joint.called} does not answer")
            except Missed:
                silent.append(f"{limb.joint.called} answers what cannot be read")
        return ", ".join(silent) or "answers are missed again and again"

    def _take(self, i: int, limb: Limb, answer: Answer, start: int) -> None:
        register, at = self.table.register, _EACH * i
        self.angles[i] = self.values[at] = limb.angle(register("position").decode(answer.data, start))
        self.values[at + 1] = limb.speed(register("velocity").decode(answer.data, start))
        if register("current").address >= start and self.port.family is Family.DYNAMIXEL:
            self.values[at + 2] = limb.current(register("current").decode(answer.data, start))

    def _alarms(self, limb: Limb, answer: Answer) -> list[str]:
        if not answer.error:
            return []
        bits = answer.error
        if self.port.family is Family.DYNAMIXEL:
            if not answer.error & _ALERT:
                raise Missed(f"instruction error {answer.error}", garbled=True)
            bits = self.port.value(limb.joint.id, self.table.register("hardware_error"))
        return [f"{limb.joint.name}: {word}" for word in models.errors(self.table, bits)]

    def _overcurrent(self, i: int, limb: Limb) -> list[str]:
        most, found = limb.joint.max_current, self.values[_EACH * i + 2]
        if most is None or not abs(found) > most:
            self._strong[i] = 0
            return []
        self._strong[i] += 1
        if self._strong[i] < _LONG:
            return []
        return [f"{limb.joint.name}: {abs(found):.2f} A, above its limit of {most:g} A"]

    def _slow(self, i: int, limb: Limb, data: bytes, block: range) -> list[str]:
        def read(name: str) -> int | None:
            register = self.table.register(name)
            return register.decode(data, block.start) if register.address in block else None

        at, name, faults = _EACH * i, limb.joint.name, list[str]()
        current, voltage, temperature = read("current"), read("voltage"), read("temperature")
        if current is not None:
            self.values[at + 2] = limb.current(current)
        if voltage is not None:
            self.values[at + 3] = found = volts(voltage)
            if not limb.min_voltage <= found <= limb.max_voltage:
                faults.append(f"{name}: {found:.1f} V, not {limb.min_voltage:g} to {limb.max_voltage:g} V")
        if temperature is not None:
            self.values[at + 4] = float(temperature)
            if temperature > limb.max_temperature:
                faults.append(f"{name}: {temperature} °C, above its limit of {limb.max_temperature:g} °C")
        faults += [f"{name}: {word}" for word in models.errors(self.table, read("hardware_error") or 0)]
        if self.on and "watchdog" in self.table.registers and read("watchdog") == _TRIPPED:
            faults.append(f"{name}: its bus watchdog has tripped (the keeper was held up)")
        return faults + self._lost(name, limb, read("torque"), read("mode"))

    def _lost(self, name: str, limb: Limb, torque: int | None, mode: int | None) -> list[str]:
        """One that has restarted is as its EEPROM has it."""
        if not self.on:
            return []
        if torque == 0:
            return [f"{name}: has no torque any more (did it restart?)"]
        if mode is not None and mode != self.table.modes[limb.mode]:
            return [
                f"{name}: is in {self.table.mode_names.get(mode, mode)} mode now, no longer in {limb.mode}"
            ]
        return []
