"""The format's page names every field that the code reads, and the numbers that it enforces."""

import json
from pathlib import Path

from acclimate.bundle import archive, manifest_json
from acclimate.bundle import file as bundle

from . import bundles

PAGE = (Path(__file__).parents[2] / "docs" / "bundle_format.md").read_text(encoding="utf-8")


def test_every_field_is_described() -> None:
    tree = json.loads(manifest_json.to_json(bundles.manifest()))
    names = (
        set(tree)
        | set(tree["limits"])
        | set(tree["tolerance"])
        | set(tree["adaptation"])
        | set(tree["window"])
    )
    names |= {
        name
        for part in (tree["task"]["observation"], tree["task"]["action"], tree["state"])
        for entry in part
        for name in entry
    }
    names |= set(tree["family"]) | set(tree["task"]) | set(tree["task"]["reference"])
    parts = ("parameters", "metrics")
    names |= {name for part in parts for entry in tree["task"][part] for name in entry}
    assert sorted(name for name in names if name not in PAGE) == []


def test_the_limits_are_the_ones_enforced() -> None:
    stated = f"at most {archive.MAX_MEMBERS} members, of at most {archive.MAX_MEMBER // 2**20} MiB each"
    assert stated in PAGE
    assert f"has at most {bundle.MAX_BUNDLE // 2**20} MiB" in PAGE
