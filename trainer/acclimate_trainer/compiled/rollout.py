"""Roll-outs of one kind in compiled C: the same policy on the same build of session, with other numbers.

The tick is the policy's `act` and the session's `step` as they are, traced on one machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from acclimate.task.spec import TaskSpec
from torch import Tensor

from acclimate_trainer.compiled.anatomy import Anatomy, Drawn, Leaf, anatomy
from acclimate_trainer.compiled.leaves import (
    Path,
    assign,
    at,
    leaves,
    name_of,
    same,
    same_content,
    tensor_at,
)
from acclimate_trainer.compiled.parts import ahead, count_of, fits, placed
from acclimate_trainer.compiled.ride import Ridden, Ride, begun, rewarded
from acclimate_trainer.compiled.ticks.errors import NotCompiled
from acclimate_trainer.compiled.ticks.tick import CompiledTick, Ticked
from acclimate_trainer.compiled.ticks.trace import Inputs
from acclimate_trainer.contract.policy import Policy, Tensors


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
        self._compose, self._anew = asked.compose, asked.anew
        if both := set(self._names.told).intersection(self._names.written):
            raise NotCompiled(f"its act writes what it is told, {min(both)}")
        fading = len(self._anatomy.fading) + len(self._names.written)
        self._compiled = CompiledTick(self._tick(policy), self._example(), fading)
        self._policy = leaves(policy)
        self._constants = self._taken_from(self._policy)
        self._checked: set[tuple[int, int]] = set()

    @property
    def kept(self) -> bool:
        """Whether the next process finds in the cache what was compiled."""
        return self._compiled.kept

    def fits(self, asked: Ride) -> bool:
        """Whether this is the kind that is asked for."""
        return (
            (type(asked.policy), type(asked.session)) == self.types
            and (asked.decay > 0.0) == self._passes
            and _Names(asked) == self._names
            and fits(self._anatomy, asked.session, asked.noise.shape[:2], asked.ticks)
            and self._is_policy(asked.policy)
        )

    def _taken_from(self, policy: dict[Path, object]) -> frozenset[Path]:
        """Tensors of the policy that the trace has taken as they are, past its state."""
        used = {x.untyped_storage().data_ptr() for x in self._compiled.constants}
        tensors = ((path, x) for path, x in policy.items() if isinstance(x, Tensor))
        return frozenset(path for path, x in tensors if x.untyped_storage().data_ptr() in used)

    def _is_policy(self, policy: Policy) -> bool:
        """Whether a policy has the same constants. Other tensors come by its state."""
        for path, leaf in self._policy.items():
            if not isinstance(leaf, Tensor):
                if not same(at(policy, path), leaf):
                    return False
            elif path in self._constants:
                found = at(policy, path)
                if not isinstance(found, Tensor) or not same_content(found, leaf):
                    return False
        return True

    def _tick(
        self, policy: Policy
    ) -> Callable[[Tensors, Tensors, Tensors, Tensors], tuple[Tensors, Tensors]]:
        a, names = self._anatomy, self._names

        def tick(
            carried: Tensors, weights: Tensors, machine: Tensors, now: Tensors
        ) -> tuple[Tensors, Tensors]:
            session = placed(
                a,
                [carried[_name(x)] for x in a.carried],
                [machine[_name(x)] for x in a.constants],
                [now[_name(x)] for x in a.drawn],
            )
            obs = self._compose(session.obs, now["reference"])
            if names.earned:
                obs = _first_rewarded(policy.spec, obs, now["earned"])
            live = {name: carried[name] for name in names.written}
            state = {**weights, **{name: machine[name] for name in names.told}, **live}
            act = policy.act(state, obs, now["noise"])
            step = session.step(act.action if self._passes else act.action.detach())
            out = {_name(x): tensor_at(session, x.path) for x in a.fading}
            ended = step.terminated | step.truncated
            following = {**live, **act.next}
            following |= begun(following, {name: x[:1, :1] for name, x in self._anew.items()}, ended)
            out |= {name: following[name] for name in names.written}
            out |= {_name(x): tensor_at(session, x.path) for x in a.kept}
            record = {"obs": obs, "action": act.action, "reward": step.reward, "ended": ended.float()}
            return out, record

        return tick

    def _example(self) -> Inputs:
        a, names = self._anatomy, self._names
        session = {_name(x): tensor_at(a.tiny, x.path) for x in (*a.carried, *a.constants)}
        session |= {_name(x): session[_name(x)].unsqueeze(0) for x in a.constants if not x.axes}
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
                **({"earned": torch.zeros(1, 1)} if names.earned else {}),
                "noise": torch.zeros(1, 1, names.noise),
            },
        )

    def ride(self, asked: Ride) -> tuple[Ridden, bool]:
        """What came of it, and whether this code has never run for so many ticks."""
        a, names, lanes = self._anatomy, self._names, asked.noise.shape[:2]
        carried = {_name(x): tensor_at(asked.session, x.path) for x in a.carried}
        now = {_name(x): _by_episode(ahead(a, asked.session, x, asked.ticks), x, lanes) for x in a.drawn}
        if asked.earned is not None:
            now["earned"] = torch.full(asked.noise.shape[:3], torch.nan)
            now["earned"] = torch.cat([asked.earned.unsqueeze(2), now["earned"][:, :, 1:]], dim=2)
        numbers, segment = self._numbers(asked)
        ticked = self._compiled(
            Inputs(
                carried | {name: asked.live[name] for name in names.written},
                {name: asked.live[name] for name in names.weights},
                numbers,
                now | {"reference": asked.reference[:, :, : asked.ticks], "noise": asked.noise},
            ),
            segment,
            asked.decay if self._passes else 1.0,
        )
        key = self._compiled.kernels, asked.ticks
        is_new = key not in self._checked
        self._checked.add(key)
        return self._ridden(asked, ticked), is_new

    def _numbers(self, asked: Ride) -> tuple[dict[str, Tensor], Tensor | None]:
        """The machines' numbers and what they are told, (T, K, …); and which of the K hold when, (T, S)."""
        change, tasks = asked.change, asked.noise.shape[0]
        if change is None:
            told = {name: asked.live[name] for name in self._names.told}
            return {name: x.unsqueeze(1) for name, x in (self._constants_of(asked) | told).items()}, None
        if bool((change.at <= 0).any()):
            change.become(asked.session, change.at <= 0)
        now = self._constants_of(asked)
        change.become(asked.session, torch.ones(tasks, dtype=torch.bool))
        then, happens = self._constants_of(asked), change.at < asked.ticks
        ended = {
            x.path: _where(happens, then[_name(x)], now[_name(x)]) for x in self._anatomy.constants if x.axes
        }
        assign(asked.session, ended)
        first, last = change.told or ({}, {})
        three = {name: torch.stack([now[name], then[name], then[name]], dim=1) for name in now}
        three |= {name: torch.stack([first[name], first[name], last[name]], dim=1) for name in first}
        ticks, at = torch.arange(asked.ticks), change.at.unsqueeze(-1)
        return three, (at <= ticks).int() + (at < ticks).int()  # told as the next tick begins

    def _constants_of(self, asked: Ride) -> dict[str, Tensor]:
        tasks = asked.noise.shape[0]
        constants = {x: tensor_at(asked.session, x.path) for x in self._anatomy.constants}
        return {
            _name(x): value if x.axes else value.expand(tasks, *value.shape) for x, value in constants.items()
        }

    def _ridden(self, asked: Ride, ticked: Ticked) -> Ridden:
        """The session moves on, by tensors that the gradient passes through."""
        a, change = self._anatomy, asked.change
        moved: dict[Path, object] = {x.path: ticked.carried[_name(x)] for x in a.carried}
        count = count_of(a, asked.session) + asked.ticks
        assign(asked.session, moved | dict.fromkeys(a.counters, count))
        live = {**asked.live, **{name: ticked.carried[name] for name in self._names.written}}
        if change is not None:
            live |= change.told_at(asked.ticks - 1)
        seen = ticked.record
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
        self.earned = asked.earned is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Names) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


def _first_rewarded(spec: TaskSpec, obs: Tensor, earned: Tensor) -> Tensor:
    """The observation with this as the reward, unless it is NaN: only the first tick is given one."""
    at = spec.index(str(spec.reward))
    return rewarded(spec, obs, torch.where(torch.isnan(earned), obs[..., at], earned))


def _name(part: Leaf | Drawn) -> str:
    return "session." + name_of(part.path)


def _where(which: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(which.view(-1, *[1] * (a.dim() - 1)), a, b)


def _by_episode(x: Tensor, drawn: Drawn, lanes: Sequence[int]) -> Tensor:
    """Of ticks first (S, …), for every episode: (T, E, S, …)."""
    own = drawn.shape[drawn.axes :] if drawn.axes else drawn.shape
    lead = x.shape[1 : 1 + drawn.axes]
    whole = x.reshape(x.shape[0], *lead, *[1] * (2 - drawn.axes), own.numel())
    return whole.expand(-1, *lanes, -1).movedim(0, 2)
