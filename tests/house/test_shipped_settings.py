"""What ships was trained by what its config says today, defaults included: neither has changed without the other."""

from __future__ import annotations

import json

import pytest
from acclimate.bundle.file import load
from acclimate_demo.shipped import shipped
from acclimate_trainer.runs.built_in import built_in
from acclimate_trainer.runs.configuration import load_config


@pytest.mark.parametrize("name", shipped())
def test_a_config_still_says_what_its_bundle_was_trained_by(name: str) -> None:
    trained_by = load(shipped()[name]).manifest.provenance["config"]
    today = json.loads(json.dumps(load_config(built_in()[name]).tree()))
    assert isinstance(trained_by, dict)
    differing = [
        f"{section}.{key} was {value}, is {today[section].get(key)}"
        for section, settings in trained_by.items()
        if isinstance(settings, dict)
        for key, value in settings.items()
        if today[section].get(key) != value
    ]
    assert differing == [], "train the bundle anew: make bundles NAME=…"
