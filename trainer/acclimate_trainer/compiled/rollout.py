"""Roll-outs of one kind in compiled C: the same policy on the same build of session, with other numbers.

The tick is the policy's `act` and the session's `step` as they are, traced on one machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from acclimate_trainer.compiled.anatomy import Anatomy, Drawn, Leaf, ahead, anatomy, fits, placed
from acclimate_trainer.compiled.errors import NotCompiled
from acclimate_trainer.compiled.kernel import Arguments, Kernel
from acclimate_trainer.compiled.leaves import Path, assign, leaves, name_of, same, same_content
from acclimate_trainer.compiled.ride import Ridden, Ride
from acclimate_trainer.compiled.trace import GROUPS, Inputs, Traced, trace
from acclimate_trainer.contract.policy import Policy, Tensors

_FEW = 64  # numbers that may differ from task to task before each task gets lanes of its own


class _Placement(NamedTuple):
    """Which inputs of the graph that are weights count as a machine's numbers, and whether tasks share the rest."""

    moved: frozenset[int]
    share: bool


class Rollout:
    """See the module."""

    def __init__(self, asked: Ride) -> None:
        """Raises NotCompiled."""
        policy = asked.policy
        if asked.tiny is None:
            raise NotCompiled("there is no session with one task and one episode to trace")
        self.types = type(policy), type(asked.session)
        self._anatomy: Anatomy = anatomy(asked.tiny(), asked.session, policy.spec.n_act)
        self._names = _Names(asked)
        self._passes = asked.decay > 0.0
        self._compose = asked.compose
        self._traced: Traced = trace(
            self._tick(policy), self._example(), len(self._anatomy.fading) + len(self._names.written)
        )
        self._policy = leaves(policy)
        self._constants = self._taken_from(self._policy)
        self._kernels: dict[tuple[frozenset[int], tuple[str, ...]], Kernel] = {}
        self._checked: set[tuple[frozenset[int], tuple[str, ...], int]] = set()

    def fits(self, asked: Ride) -> bool:
        """Whether this is the kind that is asked for."""
        return (
            (type(asked.policy), type(asked.session)) == self.types
            and (asked.decay > 0.0) == self._passes
            and _Names(asked) == self._names
            and fits(self._anatomy, asked.session, asked.ticks)
            and self._is_policy(leaves(asked.policy))
        )

    def _taken_from(self, policy: dict[Path, object]) -> frozenset[Path]:
        """Tensors of the policy that the trace has taken as they are, past its state."""
        used = {x.untyped_storage().data_ptr() for x in self._traced.constants}
        tensors = ((path, x) for path, x in policy.items() if isinstance(x, Tensor))
        return frozenset(path for path, x in tensors if x.untyped_storage().data_ptr() in used)

    def _is_policy(self, found: dict[Path, object]) -> bool:
        if found.keys() != self._policy.keys():
            return False
        return all(
            (path not in self._constants or (isinstance(x := found[path], Tensor) and same_content(x, leaf)))
            if isinstance(leaf, Tensor)
            else same(found[path], leaf)
            for path, leaf in self._policy.items()
        )

    def _tick(
        self, policy: Policy
    ) -> Callable[[Tensors, Tensors, Tensors, Tensors], tuple[Tensors, Tensors]]:
        a, names = self._anatomy, self._names

        def tick(carried: Tensors, weights: Tensors, machine: Tensors, now: Tensors) -> tuple[Tensors, Tensors]:
            session = placed(
                a,
                [carried[_name(x)] for x in a.carried],
                [machine[_name(x)] for x in a.constants],
                [now[_name(x)] for x in a.drawn],
            )
            obs = self._compose(session.obs, now["reference"])
            live = {name: carried[name] for name in names.written}
            state = {**weights, **{name: machine[name] for name in names.told}, **live}
            act = policy.act(state, obs, now["noise"])
            step = session.step(act.action if self._passes else act.action.detach())
            after = leaves(session)
            out: dict[str, object] = {_name(x): after[x.path] for x in a.fading}
            out |= {name: {**live, **act.next}[name] for name in names.written}
            out |= {_name(x): after[x.path] for x in a.kept}
            ended = (step.terminated | step.truncated).float()
            record = {"obs": obs, "action": act.action, "reward": step.reward, "ended": ended}
            return {name: x for name, x in out.items() if isinstance(x, Tensor)}, record

        return tick

    def _example(self) -> Inputs:
        a, names, tiny = self._anatomy, self._names, leaves(self._anatomy.tiny)
        session = {_name(x): _tensor(tiny[x.path]) for x in (*a.carried, *a.constants)}
        session = {
            _name(x): session[_name(x)] if x.axes else session[_name(x)].unsqueeze(0)
            for x in (*a.carried, *a.constants)
        }
        return Inputs(
            {
                **{_name(x): session[_name(x)] for x in a.fading},
                **{name: torch.zeros(1, 1, *names.shapes[name]) for name in names.written},
                **{_name(x): session[_name(x)] for x in a.kept},
            },
            {name: torch.zeros(1, *names.shapes[name]) for name in names.weights},
            {
                **{_name(x): session[_name(x)] for x in a.constants},
                **{name: torch.zeros(1, *names.shapes[name]) for name in names.told},
            },
            {
                **{_name(x): torch.zeros(x.shape if x.axes else (1, *x.shape)) for x in a.drawn},
                "reference": torch.zeros(1, 1, names.reference),
                "noise": torch.zeros(1, 1, names.noise),
            },
        )

    def ride(self, asked: Ride) -> tuple[Ridden, bool]:
        """What came of it, and whether it is the first time that this code runs for so many ticks."""
        tasks, lanes = asked.noise.shape[0], asked.noise.shape[:2]
        found = leaves(asked.session)
        carried = [_tensor(found[x.path]) for x in self._anatomy.carried]
        fading = len(self._anatomy.fading)
        carried[fading:fading] = [asked.live[name] for name in self._names.written]
        now = [_by_episode(ahead(self._anatomy, found, x, asked.ticks), x, lanes) for x in self._anatomy.drawn]
        now += [asked.reference[:, :, : asked.ticks], asked.noise]
        weights = self._made("weights", [asked.live[name].unsqueeze(1) for name in self._names.weights])
        numbers, segment = self._numbers(asked)
        machine = self._made("machine", numbers)
        placement = _placement([self._traced.graph.inputs[k][1].numel() for k in self._traced.graph.places("weights")],
                               weights, self._traced.graph.places("weights"), tasks)  # fmt: skip
        values = {"carried": carried, "weights": weights, "machine": machine, "now": now}
        arguments = self._arguments(values, placement.moved, asked, segments=1 if asked.change is None else 3)
        wanted = tuple(g for g, x in zip(GROUPS, arguments, strict=True) if x.requires_grad or g == "carried")
        if not (torch.is_grad_enabled() and any(x.requires_grad for x in arguments)):
            wanted = ()
        kernel = self._kernel(placement.moved, wanted)
        decay = asked.decay if self._passes else 1.0
        out, record = kernel(arguments, segment, decay, tasks_share=placement.share)
        key = placement.moved, wanted, asked.ticks
        is_new = key not in self._checked
        self._checked.add(key)
        return self._ridden(asked, found, out, record), is_new

    def _kernel(self, moved: frozenset[int], wanted: tuple[str, ...]) -> Kernel:
        if (moved, wanted) not in self._kernels:
            graph = self._traced.graph
            inputs = [("machine" if k in moved else group, shape) for k, (group, shape) in enumerate(graph.inputs)]
            regrouped = graph._replace(inputs=tuple(inputs))
            self._kernels[moved, wanted] = Kernel(regrouped, wanted, self._traced.fading)
        return self._kernels[moved, wanted]

    def _made(self, group: str, own: Sequence[Tensor]) -> list[Tensor]:
        """The graph's inputs of a group, (T, K, …), from the tick's own, (T, K, …)."""
        before = self._traced.before[group]
        out = [own[k] for k in before.kept]
        if before.module is not None:
            module, (tasks, segments) = before.module, own[0].shape[:2]

            def made(*each: Tensor) -> tuple[Tensor, ...]:
                return tuple(module(*(x.unsqueeze(0) for x in each)))

            results = torch.vmap(made)(*(x.flatten(0, 1) for x in own))
            out += [x.unflatten(0, (tasks, segments)) for x in results]
        return out

    def _arguments(
        self, values: dict[str, list[Tensor]], moved: frozenset[int], asked: Ride, segments: int
    ) -> Arguments:
        lanes = asked.noise.shape[:2]
        rest = {group: iter(tensors) for group, tensors in values.items()}
        groups: dict[str, list[Tensor]] = {group: [] for group in GROUPS}
        for k, (group, _) in enumerate(self._traced.graph.inputs):
            value = next(rest[group])
            if group in ("weights", "machine"):
                group = "machine" if k in moved else group
                value = value.expand(-1, segments, *value.shape[2:]) if group == "machine" else value
            groups[group].append(value)
        lead = {"carried": lanes, "weights": (lanes[0],), "machine": (lanes[0], segments),
                "now": (*lanes, asked.ticks)}  # fmt: skip
        return Arguments(*(_flat(groups[group], lead[group]) for group in GROUPS))

    def _numbers(self, asked: Ride) -> tuple[list[Tensor], Tensor]:
        """The machines' numbers (T, K, …) in each segment, and what they are told; which one holds when, (T, S)."""
        a, change, tasks = self._anatomy, asked.change, asked.noise.shape[0]
        if change is not None and bool((change.at <= 0).any()):
            change.become(asked.session, change.at <= 0)
        now = self._constants_of(asked, tasks)
        if change is None:
            one = [asked.live[name] for name in self._names.told]
            return [x.unsqueeze(1) for x in now + one], torch.zeros(tasks, asked.ticks, dtype=torch.int32)
        before = leaves(asked.session)
        change.become(asked.session, torch.ones(tasks, dtype=torch.bool))
        then = self._constants_of(asked, tasks)
        happened = change.at < asked.ticks
        ended = {
            x.path: _where(happened, _tensor(leaves(asked.session)[x.path]), _tensor(before[x.path]))
            for x in a.constants
            if x.axes
        }
        assign(asked.session, ended)
        ticks = torch.arange(asked.ticks)
        at = change.at.unsqueeze(-1)
        segment = (at <= ticks).int() + (at < ticks).int()
        told = change.told or ({}, {})
        first, last = ([part[name] for name in self._names.told] for part in told)
        each = zip(now + first, [*then, *first], then + last, strict=True)
        return [torch.stack(parts, dim=1) for parts in each], segment

    def _constants_of(self, asked: Ride, tasks: int) -> list[Tensor]:
        found = leaves(asked.session)
        return [
            x if leaf.axes else x.expand(tasks, *x.shape)
            for leaf in self._anatomy.constants
            if isinstance(x := found[leaf.path], Tensor)
        ]

    def _ridden(self, asked: Ride, found: dict[Path, object], out: Tensor, record: Tensor) -> Ridden:
        a, lanes = self._anatomy, asked.noise.shape[:2]
        sizes = self._traced.graph.sizes("carried")
        parts = list(torch.split(out, sizes, dim=-1))
        fading, written = len(a.fading), len(self._names.written)
        of_session = parts[:fading] + parts[fading + written :]
        moved: dict[Path, object] = {
            leaf.path: x.reshape(leaf.real_shape(lanes)) for leaf, x in zip(a.carried, of_session, strict=True)
        }
        moved |= {path: int(str(found[path])) + asked.ticks for path in a.counters}
        assign(asked.session, moved)
        live = dict(asked.live)
        for name, x in zip(self._names.written, parts[fading : fading + written], strict=True):
            live[name] = x.reshape(*lanes, *self._names.shapes[name])
        if asked.change is not None and asked.change.told is not None:
            happened = asked.change.at < asked.ticks
            before, after = asked.change.told
            live |= {name: _where(happened, after[name], before[name]) for name in self._names.told}
        shapes = self._traced.record
        columns = torch.split(record, [shape.numel() for shape in shapes.values()], dim=-1)
        seen = {name: x.reshape(*lanes, asked.ticks, *shapes[name][2:]) for name, x in zip(shapes, columns, strict=True)}
        last = asked.compose(asked.session.obs, asked.reference[:, :, -1])
        obs = torch.cat([seen["obs"], last.unsqueeze(2)], dim=2)
        return Ridden(obs, seen["action"], seen["reward"], seen["ended"].detach() > 0.5, live)


class _Names:
    """Names and shapes of a policy's state, by where they come from."""

    def __init__(self, asked: Ride) -> None:
        by_act = {t.name for t in asked.policy.state if t.written_by == "act"}
        told = asked.change.told[0] if asked.change is not None and asked.change.told is not None else {}
        self.written = [name for name in asked.live if name in by_act]
        self.told = sorted(told)
        self.weights = [name for name in asked.live if name not in by_act and name not in told]
        self.shapes = {name: x.shape[2 if name in by_act else 1 :] for name, x in asked.live.items()}
        self.reference, self.noise = asked.reference.shape[3], asked.noise.shape[3]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Names) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


def _placement(sizes: Sequence[int], weights: Sequence[Tensor], places: Sequence[int], tasks: int) -> _Placement:
    if not weights or tasks == 1:
        return _Placement(frozenset(), True)
    flat = _flat(weights, (tasks,)).detach()
    alike = torch.split((flat == flat[:1]).all(0), list(sizes))
    varying = [k for k, same_in_all in enumerate(alike) if not bool(same_in_all.all())]
    few = sum(sizes[k] for k in varying) <= _FEW
    return _Placement(frozenset(places[k] for k in varying) if few else frozenset(), few)


def _name(part: Leaf | Drawn) -> str:
    return "session." + name_of(part.path)


def _tensor(leaf: object) -> Tensor:
    assert isinstance(leaf, Tensor)
    return leaf


def _where(which: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(which.view(-1, *[1] * (a.dim() - 1)), a, b)


def _by_episode(x: Tensor, drawn: Drawn, lanes: Sequence[int]) -> Tensor:
    """Of ticks first (S, …), for every episode: (T, E, S, …)."""
    own = drawn.shape[drawn.axes :] if drawn.axes else drawn.shape
    lead = x.shape[1 : 1 + drawn.axes]
    whole = x.reshape(x.shape[0], *lead, *[1] * (2 - drawn.axes), own.numel())
    return whole.expand(-1, *lanes, -1).movedim(0, 2)


def _flat(tensors: Sequence[Tensor], lead: Sequence[int]) -> Tensor:
    """Side by side, one row for each of `lead`."""
    if not tensors:
        return torch.zeros(*lead, 0)
    return torch.cat([x.reshape(*lead, -1) for x in tensors], dim=-1)
