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
from acclimate_bridge.bus.port import LAST_ID, Missed, ServoPort

_LOOKS = 3  # at a bus that seems to have one servo


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
    with _only_one(where, family, rates) as (port, look):
        before = look.joint.id
        look.set("torque", 0)
        with unlocked(look):
            look.rename(to)
        model_of(port, family, to, f"id {to}")
        return Check(f"id {to}", f"the {look.model.name} that had id {before}")


def change_baud(where: str, family: Family, rates: Sequence[int], to: int) -> Check:
    """Have the one servo that is on a bus speak at another rate. Raises UsageError as `change_id`."""
    codes = {rate: code for code, rate in TABLES[family].bauds.items()}
    if to not in codes:
        raise UsageError(f"--to must be one of {', '.join(map(str, sorted(codes)))} baud, found {to}")
    with _only_one(where, family, rates) as (port, look):
        before = port.baud
        look.set("torque", 0)
        # Its answer may come at the new rate.
        with unlocked(look, lambda: port.set_baud(to)), contextlib.suppress(Missed):
            port.write(look.joint.id, TABLES[family].register("baud"), codes[to])
        model_of(port, family, look.joint.id, f"id {look.joint.id}")
        return Check(
            f"id {look.joint.id}", f"the {look.model.name} that spoke at {before} baud speaks at {to}"
        )


def _everybody(port: ServoPort) -> list[int]:
    """Who answers. Whoever seems to be alone is looked for company again: one answer that was missed, and what is
    meant for one servo would leave two with the same id."""
    found = answering(port, range(LAST_ID + 1))
    for _ in range(_LOOKS - 1):
        if len(found) == 1:
            found = sorted({*found, *answering(port, range(LAST_ID + 1))})
    return found


@contextlib.contextmanager
def _only_one(where: str, family: Family, rates: Sequence[int]) -> Iterator[tuple[ServoPort, Look]]:
    """The one servo that is connected."""
    for baud in rates:
        with contextlib.closing(ServoPort(where, family, baud)) as port:
            there = _everybody(port)
            if len(there) > 1:
                raise UsageError(
                    f"{len(there)} servos are on {where} (ids {', '.join(map(str, there))}); leave only the one "
                    "connected that is to be changed"
                )
            if there:
                name = f"id {there[0]}"
                model = model_of(port, family, there[0], name)
                yield port, Look(port, TABLES[family], Joint(name, there[0]), model)
                return
    raise UsageError(
        f"no {family} servo answers on {where}; is it powered? acclimate bus scan {where} looks for all"
    )
