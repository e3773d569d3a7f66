"""Servos taken in hand and let go again, so that none of them jerks.

In: torque off, mode, goal := where it stands or duty 0, read back, and only then torque. Out: neutral, torque off, and
the mode that it came in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from acclimate.errors import DeviceFault, UsageError

from acclimate_bridge.bus.limbs import Limb
from acclimate_bridge.bus.models import TABLES, Mode
from acclimate_bridge.bus.plan import BusPlan
from acclimate_bridge.bus.port import Missed, ServoPort

_TRIES = 4
_WATCHDOG = 0.02  # s for a count
_NEAR = 40  # counts that a servo may have moved between two looks, pushed by hand


def halt(plan: BusPlan) -> bool:
    """Take the torque from all servos of a bus that nobody keeps; whether that could be sent."""
    table = TABLES[plan.family]
    try:
        with contextlib.closing(ServoPort(plan.port, plan.family, plan.baud)) as port:
            for _ in range(_TRIES):  # nobody answers to it
                if plan.mode is Mode.PWM:
                    port.sync_write(plan.ids, table.register("goal_duty"), [0] * len(plan.ids))
                port.sync_write(plan.ids, table.register("torque"), [0] * len(plan.ids))
    except (Missed, UsageError):
        return False
    return True


class Hands:
    """What is written to servos. Nothing else drives them."""

    def __init__(self, port: ServoPort, limbs: Sequence[Limb]) -> None:
        self.port, self.limbs = port, limbs
        self.ids = [limb.joint.id for limb in limbs]
        self.table = TABLES[port.family]
        self.mode = limbs[0].mode
        self._came_in: dict[int, int] = {}  # the mode of each servo, where it was another

    def take(self, silence: float) -> None:
        """Ready to be driven, and at rest. silence: s after which one with a watchdog of its own stops by itself.

        Raises DeviceFault where a servo does not do as it is told; all are off then.
        """
        try:
            with self.port.calm():
                for limb in self.limbs:
                    self._take(limb, silence)
        except (Missed, DeviceFault) as error:
            self.off()
            if isinstance(error, DeviceFault):
                raise
            raise DeviceFault(
                f"a servo on {self.port.name} does not answer while it is armed ({error})"
            ) from error

    def _take(self, limb: Limb, silence: float) -> None:
        number = limb.joint.id
        self._write(limb, "torque", 0)
        wanted = self.table.modes[self.mode]
        found = self._read(limb, "mode")
        if found != wanted:
            self._came_in.setdefault(number, found)
            self._set_mode(limb, wanted)
        if "watchdog" in self.table.registers:
            self._write(limb, "watchdog", 0)  # also clears one that has tripped
        if self.mode is Mode.PWM:
            self._confirm(limb, "goal_duty", 0)
        else:
            here = self._read(limb, "position")
            self._confirm(limb, "goal_position", here)
            if abs(self._read(limb, "position") - here) > _NEAR:
                raise DeviceFault(f"servo {limb.joint.called} moves while it is armed; hold it still")
        if limb.watches:
            self._write(limb, "watchdog", min(max(round(silence / _WATCHDOG), 1), 127))
        self._confirm(limb, "torque", 1)

    def _set_mode(self, limb: Limb, mode: int) -> None:
        """A mode lives in the EEPROM, which a Feetech locks."""
        locks = "lock" in self.table.registers
        if locks:
            self._write(limb, "lock", 0)
        if self.mode is Mode.PWM and self.port.family == "feetech":
            self._write(limb, "goal_duty", 0)  # before the mode: it is the goal time of the other ones
        self._confirm(limb, "mode", mode)
        if locks:
            self._write(limb, "lock", 1)

    def drive(self, goals: Sequence[int]) -> None:
        """One goal for each, in counts, in one exchange. Raises Missed."""
        name = "goal_duty" if self.mode is Mode.PWM else "goal_position"
        self.port.sync_write(self.ids, self.table.register(name), goals)

    def off(self) -> None:
        """Neutral, then no torque. Tries again and again, and never raises: an unplugged bus has nobody to tell."""
        for _ in range(_TRIES):
            with contextlib.suppress(Missed, ValueError):
                if self.mode is Mode.PWM:
                    self.port.sync_write(self.ids, self.table.register("goal_duty"), [0] * len(self.ids))
                self.port.sync_write(self.ids, self.table.register("torque"), [0] * len(self.ids))
                if all(self._is_off(limb) for limb in self.limbs):
                    return

    def _is_off(self, limb: Limb) -> bool:
        """Asked once: who waits for an answer does not switch others off."""
        return self.port.value(limb.joint.id, self.table.register("torque")) == 0

    def leave(self) -> None:
        """Off, as `off`, and in the mode that each came in."""
        self.off()
        for limb in self.limbs:
            came_in = self._came_in.pop(limb.joint.id, None)
            if came_in is not None:
                with contextlib.suppress(Missed, DeviceFault), self.port.calm():
                    self._set_mode(limb, came_in)

    def _read(self, limb: Limb, name: str) -> int:
        return self._patiently(limb, lambda: self.port.value(limb.joint.id, self.table.register(name)))

    def _write(self, limb: Limb, name: str, value: int) -> None:
        self._patiently(limb, lambda: self.port.write(limb.joint.id, self.table.register(name), value))

    def _confirm(self, limb: Limb, name: str, value: int) -> None:
        """Write and read back. Raises DeviceFault where it is not there."""
        self._write(limb, name, value)
        found = self._read(limb, name)
        if found != value:
            what = name.replace("_", " ")
            raise DeviceFault(
                f"servo {limb.joint.called} does not take {what} = {value}, it stays at {found}; look at it, then "
                "switch its power off and on"
            )

    def _patiently(self, limb: Limb, ask: Callable[[], int]) -> int:
        for left in range(_TRIES - 1, -1, -1):
            try:
                return ask()
            except Missed as missed:
                if missed.gone or not left:
                    raise
                self.port.agree(limb.joint.id, limb.model.number)
        raise AssertionError
