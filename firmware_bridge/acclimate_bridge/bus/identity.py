"""Who is on a bus, one line each, and another id for the one servo that is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

from acclimate.command.checks import Check
from acclimate.errors import UsageError

from acclimate_bridge.bus import models
from acclimate_bridge.bus.checking import Look, answering, model_of, unlocked
from acclimate_bridge.bus.limbs import volts
from acclimate_bridge.bus.models import TABLES, Family
from acclimate_bridge.bus.plan import Joint
from acclimate_bridge.bus.port import LAST_ID, ServoPort


def found_on(port: ServoPort, numbers: Iterable[int]) -> Iterator[Check]:
    """Everybody who answers, and what is wrong with them."""
    for number in answering(port, numbers):
        name = f"id {number}"
        try:
            yield _described(port, number, name)
        except UsageError as error:
            yield Check(name, f"something answers at {port.baud} baud", str(error))


def _described(port: ServoPort, number: int, name: str) -> Check:
    table = TABLES[port.family]
    model = model_of(port, port.family, number, name)
    look = Look(port, table, Joint(name, number), model)
    mode = table.mode_names.get(look("mode"), "an unknown")
    found = (
        f"{model.name}, firmware {look('firmware')}, {port.baud} baud, {mode} mode, {volts(look('voltage')):.1f} V, "
        f"{look('temperature')} °C, at {look('position')}"
    )
    words = models.errors(table, look("hardware_error"))
    remedy = f"{', '.join(words)}: find out why, then switch its power off and on" if words else ""
    return Check(name, found, remedy)


def change_id(where: str, family: Family, rates: Sequence[int], to: int) -> Check:
    """Give the one servo that is on a bus another id. Raises UsageError where there are several, or none."""
    if not 0 <= to <= LAST_ID:
        raise UsageError(f"--to must be an id from 0 to {LAST_ID}, found {to}")
    for baud in rates:
        with contextlib.closing(ServoPort(where, family, baud)) as port:
            there = answering(port, range(LAST_ID + 1))
            if len(there) > 1:
                raise UsageError(
                    f"{len(there)} servos are on {where} (ids {', '.join(map(str, there))}); leave only the one "
                    "connected whose id is to be changed"
                )
            if there:
                return _changed(port, there[0], to)
    raise UsageError(
        f"no {family} servo answers on {where}; is it powered? acclimate bus scan {where} looks for all"
    )


def _changed(port: ServoPort, number: int, to: int) -> Check:
    model = model_of(port, port.family, number, f"id {number}")
    look = Look(port, TABLES[port.family], Joint(f"id {number}", number), model)
    look.set("torque", 0)
    with unlocked(look):
        look.rename(to)
    found = model_of(port, port.family, to, f"id {to}")
    return Check(f"id {to}", f"the {found.name} that had id {number}" if found is model else found.name)
