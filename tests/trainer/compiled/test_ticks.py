"""Roll-outs of ticks in C against the same in torch: results, and gradients by everything that goes in."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from acclimate_trainer.compiled.ticks.errors import NotCompiled
from acclimate_trainer.compiled.ticks.tick import CompiledTick
from acclimate_trainer.compiled.ticks.trace import Inputs
from acclimate_trainer.contract.policy import Tensors
from acclimate_trainer.networks.recurrent import gru, gru_shapes
from torch import Tensor

from .ticks import assert_close, assert_same, by_torch, drawn, example, gradients

HIDDEN = 11
MASS = {"q": (), "v": (), "hidden": (HIDDEN,), "last": (2,)}
WEIGHTS = {**gru_shapes(4, HIDDEN), "out": (HIDDEN, 1), "gain": (1, 1)}


def driven_mass(
    carried: Tensors, weights: Tensors, machine: Tensors, now: Tensors
) -> tuple[Tensors, Tensors]:
    """A mass with friction between end stops under a recurrent controller: what a session and a policy are made of."""
    q, v = carried["q"], carried["v"]
    obs = torch.stack([now["target"][..., 0] - q, v + 0.01 * now["noise"]], dim=-1)
    hidden = gru(weights, torch.tanh(torch.cat([obs, carried["last"]], -1)), carried["hidden"])
    push = torch.bmm(hidden, weights["out"]) * weights["gain"].clamp_min(0.1)
    force = machine["strength"] * F.hardtanh(push).squeeze(-1) - machine["gravity"] * torch.sin(q)
    free = v + 0.3 * force
    v = free - torch.clamp(free, -machine["friction"].abs(), machine["friction"].abs())
    moved = q + 0.3 * v
    q = F.hardtanh(moved, -1.0, 1.0)
    v = torch.where(q == moved, v, torch.tensor(0.0))
    last = torch.cat([push, carried["last"][..., :1]], -1)
    record = {"obs": obs, "push": push, "cost": obs[..., 0].square() + 0.1 * push[..., 0].square()}
    return {"q": q, "v": v, "hidden": hidden, "last": last}, record


LIKE = example(
    MASS,
    WEIGHTS,
    {"strength": (1,), "gravity": (1,), "friction": (1,)},
    {"target": (1,), "noise": ()},
)


def smaller(inputs: Inputs, factor: float = 0.3) -> Inputs:
    """So that gates and stops are met, but not always."""
    return Inputs(
        *({n: (factor * x).detach().requires_grad_() for n, x in group.items()} for group in inputs)
    )


@pytest.mark.parametrize("shared", [True, False])
def test_results_and_gradients_are_torchs_with_weights_of_all_or_of_each_task(shared: bool) -> None:
    """17 tasks by 3 episodes fill no block; more ticks than the log holds."""
    inputs = smaller(drawn(LIKE, 17, 3, 21, shared=shared))
    assert_same(driven_mass, inputs, LIKE)


def test_a_few_weights_may_differ_from_task_to_task() -> None:
    """As what an oracle is told does: the rest is still shared by the lanes of a block."""
    inputs = smaller(drawn(LIKE, 5, 4, 6))
    gain = torch.linspace(0.0, 2.0, 5).view(5, 1, 1).requires_grad_()
    inputs.weights["gain"] = gain  # type: ignore[index]
    assert_same(driven_mass, inputs, LIKE)


def test_a_machine_may_be_another_one_in_the_middle() -> None:
    inputs = smaller(drawn(LIKE, 6, 5, 12, segments=3), 0.7)
    segment = (torch.arange(12) * torch.arange(1, 7).unsqueeze(1) // 12).clamp(max=2).int()
    assert_same(driven_mass, inputs, LIKE, segment)


@pytest.mark.parametrize("fading", [None, 2, 0])
def test_the_gradient_through_what_fades_fades(fading: int | None) -> None:
    inputs = smaller(drawn(LIKE, 3, 4, 9))
    assert_same(driven_mass, inputs, LIKE, decay=0.8, fading=fading)


def test_a_roll_out_in_two_parts_is_one() -> None:
    """The gradient of the second part reaches the first through what is carried: truncation is a matter of choice."""
    inputs = smaller(drawn(LIKE, 4, 3, 10))
    compiled = CompiledTick(driven_mass, LIKE)
    whole = compiled(inputs)
    first = compiled(inputs._replace(now={n: x[:, :, :4] for n, x in inputs.now.items()}))
    rest = compiled(Inputs(first.carried, *inputs[1:3], {n: x[:, :, 4:] for n, x in inputs.now.items()}))
    record = {n: torch.cat([first.record[n], rest.record[n]], dim=2) for n in first.record}
    expected = gradients(whole, inputs)
    for name, found in gradients(rest._replace(record=record), inputs).items():
        assert_close(found, expected[name], name, 1e-5)


def test_any_number_of_threads_gives_the_same_numbers() -> None:
    inputs = smaller(drawn(LIKE, 13, 7, 5))
    compiled, found = CompiledTick(driven_mass, LIKE), list[dict[str, Tensor]]()
    for threads in (1, 2, 3):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            ticked = compiled(inputs)
            found.append({**gradients(ticked, inputs), **ticked.record})
        finally:
            torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(other[name], found[0][name]) for name in other)


def test_what_is_not_a_number_stays_in_its_lane() -> None:
    """So that the task whose episode went astray can be left out, and no other."""
    inputs = smaller(drawn(LIKE, 5, 2, 6))
    with torch.no_grad():
        inputs.now["target"][2, 1, 3] = torch.nan
    ticked = CompiledTick(driven_mass, LIKE)(inputs)
    astray = ticked.record["push"].isnan().flatten(2).any(-1)
    assert astray.nonzero().tolist() == [[2, 1]]
    found = gradients(ticked, inputs)["1.input"]
    assert found.flatten(1).isnan().any(1).tolist() == [False, False, True, False, False]


def test_without_a_gradient_no_tape_is_kept() -> None:
    inputs = smaller(drawn(LIKE, 3, 2, 4))
    compiled = CompiledTick(driven_mass, LIKE)
    with torch.no_grad():
        found, expected = compiled(inputs), by_torch(driven_mass, inputs)
    assert not found.record["obs"].requires_grad
    assert_close(found.record["obs"], expected.record["obs"], "obs", 1e-5)


def test_gradients_go_to_what_wants_them_only() -> None:
    inputs = smaller(drawn(LIKE, 3, 2, 4))
    fixed = Inputs(*({n: x.detach() for n, x in group.items()} for group in inputs))
    weights = inputs.weights
    ticked = CompiledTick(driven_mass, LIKE)(fixed._replace(weights=weights))
    expected = by_torch(driven_mass, fixed._replace(weights=weights))
    ours, torchs = (gradients(t, fixed._replace(weights=weights)) for t in (ticked, expected))
    assert set(ours) == {f"1.{name}" for name in weights}
    for name in ours:
        assert_close(ours[name], torchs[name], name, 1e-5)


def test_what_depends_on_weights_or_machines_alone_is_taken_out_of_the_tick() -> None:
    """The product of two matrices of weights, and what is told of a machine: once per roll-out, with its gradient."""

    def tick(carried: Tensors, weights: Tensors, machine: Tensors, now: Tensors) -> tuple[Tensors, Tensors]:
        both = torch.bmm(weights["a"], weights["b"])
        told = torch.log1p(machine["mass"].square()).unsqueeze(1)
        x = torch.tanh(torch.bmm(carried["x"] + now["u"], both) * told)
        return {"x": x}, {"x": x}

    like = example({"x": (5,)}, {"a": (5, 4), "b": (4, 5)}, {"mass": (5,)}, {"u": (5,)})
    compiled = assert_same(
        tick, drawn(like, 4, 3, 6, segments=2), like, torch.tensor([[0, 0, 1, 1, 1, 1]] * 4).int()
    )
    assert "log1p_of(" not in next(iter(compiled._kernels.values())).source.partition("tick_forward(")[2]


def test_the_same_weights_may_be_used_twice() -> None:
    def tick(carried: Tensors, weights: Tensors, machine: Tensors, now: Tensors) -> tuple[Tensors, Tensors]:
        del machine
        x = torch.tanh(torch.bmm(carried["x"], weights["w"]))
        x = torch.tanh(torch.bmm(x, weights["w"].transpose(1, 2)) + now["u"])
        return {"x": torch.cat([x, x[..., :2]], -1)[..., 2:]}, {"y": torch.bmm(x, weights["w"])[..., 3]}

    like = example({"x": (9,)}, {"w": (9, 9)}, {}, {"u": (9,)})
    assert_same(tick, smaller(drawn(like, 3, 5, 7)), like)


def test_many_rows_may_share_weights() -> None:
    """As the policies of a library do: several rows of one episode by one matrix."""

    def tick(carried: Tensors, weights: Tensors, machine: Tensors, now: Tensors) -> tuple[Tensors, Tensors]:
        del machine
        x = carried["x"].reshape(*carried["x"].shape[:2], 3, 8)
        tasks, rows = x.shape[:2]
        y = torch.baddbmm(weights["b"], x.reshape(tasks, rows * 3, 8), weights["w"]).reshape(
            tasks, rows, 3, 8
        )
        y = torch.softmax(y + now["u"].unsqueeze(2), dim=-1)
        return {"x": y.flatten(2)}, {"top": y.amax((2, 3)), "sum": y.sum(2)}

    like = example({"x": (24,)}, {"w": (8, 8), "b": (1, 8)}, {}, {"u": (8,)})
    assert_same(tick, drawn(like, 2, 9, 3), like)


def test_a_derivative_cut_by_detach_stays_cut() -> None:
    def tick(carried: Tensors, weights: Tensors, machine: Tensors, now: Tensors) -> tuple[Tensors, Tensors]:
        del weights, machine
        moved = carried["x"] + now["u"]
        x = moved + (F.hardtanh(moved) - moved).detach()  # through the stops
        return {"x": x}, {"held": x.detach() * now["u"]}

    like = example({"x": (3,)}, {}, {}, {"u": (3,)})
    assert_same(tick, drawn(like, 2, 3, 5), like)


def test_a_tick_that_branches_on_data_is_refused_with_the_line() -> None:
    def tick(carried: Tensors, weights: Tensors, machine: Tensors, now: Tensors) -> tuple[Tensors, Tensors]:
        del weights, machine
        if carried["x"].sum() > 0.0:  # here
            return {"x": carried["x"]}, {"u": now["u"]}
        return {"x": -carried["x"]}, {"u": now["u"]}

    with pytest.raises(NotCompiled, match=r"branches on data \(test_ticks.py:\d+: if carried\[.x.\].*# here"):
        CompiledTick(tick, example({"x": ()}, {}, {}, {"u": ()}))


def test_an_operator_without_a_row_is_named() -> None:
    def tick(carried: Tensors, weights: Tensors, machine: Tensors, now: Tensors) -> tuple[Tensors, Tensors]:
        del weights, machine
        return {"x": torch.special.i0(carried["x"])}, {"u": now["u"]}

    like = example({"x": ()}, {}, {}, {"u": ()})
    with pytest.raises(NotCompiled, match=r"operator aten\.i0\.default has no C"):
        CompiledTick(tick, like)(drawn(like, 1, 1, 1))


def test_double_precision_is_refused() -> None:
    like = example({"x": ()}, {}, {}, {"u": ()})
    like.carried["x"] = like.carried["x"].double()  # type: ignore[index]
    with pytest.raises(NotCompiled, match=r"carried 'x' is torch\.float64"):
        CompiledTick(lambda carried, _w, _m, now: (carried, now), like)
