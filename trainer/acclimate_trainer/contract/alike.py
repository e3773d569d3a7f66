"""Whether what was trained on one machine can drive another: the channels that it needs, and the rate."""

from __future__ import annotations

from collections.abc import Iterator

from acclimate.task.spec import ActionChannel, ObservationChannel, TaskSpec


def differences(source: TaskSpec, target: TaskSpec) -> Iterator[str]:
    """What keeps a policy for the one from driving the other, each in a few words."""
    if source.control_dt != target.control_dt:
        yield f"the control period is {source.control_dt:g} s in the source and {target.control_dt:g} s in the target"
    observed, acted = (
        (_by_name(s.observation) for s in (source, target)),
        (_by_name(s.action) for s in (source, target)),
    )
    yield from _channels("observation", *observed)
    yield from _channels("action", *acted)
    if source.choices != target.choices:
        yield f"the choices are {len(source.choices)} in the source and {len(target.choices)} in the target"


def _by_name(channels: tuple[ObservationChannel, ...] | tuple[ActionChannel, ...]) -> dict[str, str]:
    """What a channel must have in common with its like, in words."""
    return {c.name: _described(c) for c in channels}


def _described(channel: ObservationChannel | ActionChannel) -> str:
    shape = "×".join(map(str, channel.shape))
    words = f"{channel.unit}, shape {shape}" if shape else channel.unit
    if isinstance(channel, ObservationChannel):
        return f"{words}, of the {channel.source}"
    return f"{words}, {channel.minimum:g} to {channel.maximum:g}, neutral {channel.neutral}"


def _channels(kind: str, source: dict[str, str], target: dict[str, str]) -> Iterator[str]:
    only = [(name, "source") for name in source if name not in target]
    only += [(name, "target") for name in target if name not in source]
    for name, where in only:
        yield f"{kind} {name!r} is in the {where} only"
    shared = [name for name in source if name in target]
    for name in shared:
        if source[name] != target[name]:
            yield f"{kind} {name!r} is ({source[name]}) in the source and ({target[name]}) in the target"
    if not only and list(source) != list(target):
        orders = [", ".join(names) for names in (source, target)]
        yield f"{kind} channels are in the order {orders[0]} in the source and {orders[1]} in the target"
