"""Whatever is done to a policy in whatever order, its state is that of a model in numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from acclimate.arrays import FloatArray
from acclimate.bundle.file import Bundle, load
from acclimate.errors import PolicyError
from acclimate.policy.checkpoint import load_checkpoint, save_checkpoint
from acclimate.policy.policy import Policy
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from . import bundles

State = dict[str, FloatArray]
ADAPTED = ("weight", "shots")
RUNNING = ("previous", "ticks")
EPISODE, NEVER = ("previous", "sigma"), ("ticks",)
SEEDS = st.integers(0, 3)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    manifest = bundles.with_passing_sigma(bundles.manifest())
    return load(bundles.write_tiny(tmp_path_factory.mktemp("bundle") / "tiny.acclimate", manifest))


def _fresh() -> State:
    return {name: value.copy() for name, value in bundles.INITIAL.items()}


class PolicyModel(RuleBasedStateMachine):
    """`current` is what the next act reads; `spare` what commit or rollback would bring; `staged` what adapt sees."""

    policy: Policy
    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.policy.unstage()
        self.policy.restore()
        self.current = _fresh()
        self.spare: State | None = None
        self.spare_is: Literal["void", "adapted", "previous"] = "void"
        self.staged: tuple[State, int] | None = None
        self.saved: State | None = None

    @rule(seed=SEEDS)
    def act(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        obs, noise = rng.standard_normal(4, np.float32), rng.standard_normal(1, np.float32)
        found = self.policy.act(obs, noise)
        np.testing.assert_allclose(found, bundles.act_numpy(self.current, obs, noise), rtol=1e-4, atol=1e-4)
        self.current["previous"] = found.copy()  # so that rounding does not add up

    @precondition(lambda self: self.staged is None)
    @rule(seed=SEEDS)
    def step(self, seed: int) -> None:
        self.stage(seed)
        self.adapt()

    @precondition(lambda self: self.staged is None)
    @rule(seed=SEEDS)
    def stage(self, seed: int) -> None:
        window = bundles.window(seed)
        self.policy.stage(window)
        window.obs[...] = 0.0  # the caller's again
        self.staged = ({name: value.copy() for name, value in self.current.items()}, seed)

    @precondition(lambda self: self.staged is not None)
    @rule()
    def adapt(self) -> None:
        assert self.staged is not None
        seen, seed = self.staged
        result = self.policy.adapt_staged()
        self.spare, infos = bundles.adapt_numpy(seen, bundles.window(seed))
        self.spare_is, self.staged = "adapted", None
        for name, value in (infos | {"sigma": float(seen["sigma"][0])}).items():
            assert result.info[name] == pytest.approx(value, rel=1e-3, abs=1e-4)
        assert result.change == pytest.approx(infos["step_norm"], rel=1e-3, abs=1e-5)

    @rule()
    def unstage(self) -> None:
        self.policy.unstage()
        self.staged = None

    @rule(scope=st.sampled_from(["trial", "episode"]))
    def reset(self, scope: Literal["trial", "episode"]) -> None:
        if scope == "trial" and self.refused(lambda: self.policy.reset("trial")):
            return
        self.policy.reset(scope)
        for name, value in _fresh().items():
            if name in EPISODE or (scope == "trial" and name not in NEVER):
                self.current[name] = value
        if scope == "trial":
            self.spare_is = "void"

    @rule()
    def restore(self) -> None:
        if not self.refused(self.policy.restore):
            self.current, self.spare_is = _fresh(), "void"

    @rule()
    def commit(self) -> None:
        if not self.refused(self.policy.commit, self.spare_is != "adapted"):
            self.swap("previous")

    @rule()
    def rollback(self) -> None:
        if not self.refused(self.policy.rollback, self.spare_is != "previous"):
            self.swap("void")

    @rule(
        name=st.sampled_from(["weight", "weight", "sigma", "previous", "shots"]),
        value=st.floats(-2, 2, width=32),
    )
    def set_state(self, name: str, value: float) -> None:
        array = np.full_like(bundles.INITIAL[name], value)
        if not self.refused(lambda: self.policy.set_state(name, array)):
            self.put({name: array})

    @rule()
    def save(self) -> None:
        save_checkpoint(self.folder / "x.checkpoint", self.policy)
        self.saved = {name: self.current[name].copy() for name in (*ADAPTED, *RUNNING)}

    @precondition(lambda self: self.saved is not None)
    @rule()
    def load(self) -> None:
        assert self.saved is not None
        if not self.refused(lambda: load_checkpoint(self.folder / "x.checkpoint", self.policy)):
            self.put({name: value.copy() for name, value in self.saved.items()})

    def put(self, values: State) -> None:
        """What is set is never overtaken by what was computed, or replaced, before."""
        self.current |= values
        if set(values) & set(ADAPTED):
            self.spare_is = "void"

    def swap(self, leaves: Literal["previous", "void"]) -> None:
        assert self.spare is not None
        here = {name: self.current[name] for name in ADAPTED}
        self.current |= self.spare
        self.spare, self.spare_is = here, leaves

    def refused(self, action: object, also: bool = False) -> bool:
        """Whether `action` must raise, as it then does; else it has been done."""
        assert callable(action)
        if self.staged is None and not also:
            action()
            return False
        with pytest.raises(PolicyError):
            action()
        return True

    @invariant()
    def what_can_be_done_is_the_models(self) -> None:
        assert self.policy.can_commit is (self.spare_is == "adapted")
        assert self.policy.can_roll_back is (self.spare_is == "previous")

    @invariant()
    def the_state_is_the_models(self) -> None:
        for name, value in self.current.items():
            np.testing.assert_allclose(self.policy.state(name), value, rtol=1e-3, atol=1e-4)


def test_a_policy_is_its_model(bundle: Bundle, tmp_path: Path) -> None:
    machine = type("Machine", (PolicyModel,), {"policy": Policy(bundle, "onnxruntime"), "folder": tmp_path})
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
