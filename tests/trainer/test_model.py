"""A model that adapts to its own prediction errors: its rows, its three forms, and the policies that drive by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from acclimate_trainer.algorithms.model.model import FormName, Model, ModelConfig
from acclimate_trainer.algorithms.model.policies import ModelPolicy
from acclimate_trainer.contract.family import TaskFamily
from acclimate_trainer.contract.policy import Policy
from torch import Tensor

from .families import GliderFamily
from .policy_conformance import AdaptivePolicyConformance, PolicyConformance
from .servo_tasks import FAMILY

SMALL = ModelConfig(hidden=6, model_hidden=8, size=4, side_by_side=2)


def model(form: FormName, family: TaskFamily[Any] = FAMILY, **changes: Any) -> ModelPolicy:
    algorithm = Model(family, replace(SMALL, form=form, **changes))
    return algorithm.policy(algorithm.initial(np.random.default_rng(0)))


class TestContext(AdaptivePolicyConformance):
    counters = ("precision",)

    def state(self, policy: Policy, tasks: int, episodes: int, *, seed: int) -> dict[str, Tensor]:
        """Each task's precision is another multiple of the first one: not every matrix is one."""
        state = PolicyConformance.state(self, policy, tasks, episodes, seed=seed)
        times = 1.0 + 0.1 * torch.arange(tasks).view(-1, 1, 1) + 0.1 * seed
        state["precision"] = policy.initial()["precision"] * times
        return state

    @pytest.fixture
    def policy(self) -> Policy:
        return model("context")


class TestGradient(AdaptivePolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return model("gradient")


class TestPriors(AdaptivePolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return model("priors")


class TestContextOnGliders(TestContext):
    @pytest.fixture
    def policy(self) -> Policy:
        return model("context", GliderFamily())


class TestPlanner(TestContext):
    @pytest.fixture
    def policy(self) -> Policy:
        return model("context", act="planner", samples=8, blocks=2)


class TestPlannerOnGliders(AdaptivePolicyConformance):
    @pytest.fixture
    def policy(self) -> Policy:
        return model("gradient", GliderFamily(), act="planner", samples=8, blocks=2, past=0)
