"""Which families there are, and how one is opened: whatever is wrong with it is said in one sentence."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tomllib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from acclimate.task.spec import TaskSpec
from acclimate_trainer.contract.family import TaskFamily
from acclimate_trainer.runs.configuration import load_config, parse_config, to_toml
from acclimate_trainer.settings.tables import ConfigError
from acclimate_trainer.tasks import registry
from acclimate_trainer.tasks.registry import BUILT_IN, GROUP, families, open_family
from acclimate_trainer.tasks.servo.family import ServoFamily

from .families import SPEC

ROBOT = '''
"""A glider of somebody's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tests.trainer.families import GliderFamily, Gliders, SPEC


@dataclass(frozen=True)
class Robot(GliderFamily):
    """Its options are of every kind."""

    arms: int = 2
    reach: tuple[float, float] = (0.5, 1.5)
    masses: list[float] = field(default_factory=lambda: [1.0])
    name: str = "r2"
    grip: Literal["soft", "hard"] = "soft"
    limit: float | None = None
    rows: tuple[tuple[float, float], ...] = ()
    known: int = field(init=False, default=3)


class Plain:
    """Without options, and with a spec that is its instances' own."""

    def __init__(self):
        self.spec = SPEC
        inner = GliderFamily()
        self.sample, self.parameters, self.open = inner.sample, inner.parameters, inner.open

    sample = parameters = open = None


class Moody(Plain):
    def __init__(self):
        raise RuntimeError("not\\ntoday")


class Speechless(Plain):
    def __init__(self):
        super().__init__()
        del self.spec


class Wordy(Plain):
    def __init__(self):
        super().__init__()
        self.spec = "a glider"


class Quitter(Plain):
    def __init__(self):
        raise SystemExit(3)


@dataclass(frozen=True)
class Contradictory(GliderFamily):
    @property
    def spec(self):
        from dataclasses import replace
        return replace(SPEC, horizon=0)


class Tool:
    """Something else."""


NUMBER = 3
'''
BROKEN = {
    "syntax.py": ("def (:\n", "SyntaxError"),
    "name.py": ("x = 1\ny = z\n", "NameError (line 2): name 'z' is not defined"),
    "module.py": (
        "\n\nimport no_such_module\n",
        "ModuleNotFoundError (line 3): No module named 'no_such_module'",
    ),
    "lines.py": ("raise ValueError('one\\n  two')\n", "ValueError (line 1): one two"),
    "exit.py": ("import sys\nsys.exit(4)\n", "SystemExit (line 2): 4"),
    "silent.py": ("raise ValueError\n", "ValueError (line 1)"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a family's file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "robot.py").write_text(ROBOT)
    return tmp_path


def refusal(name: str | None = None, use: str | None = None, options: Mapping[str, Any] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        open_family(name, use, options or {}, where="robot.toml")
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.startswith("robot.toml: ")
    return sentence.removeprefix("robot.toml: ")


# By name.


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_family_opens_and_says_its_own_name(name: str) -> None:
    opened = open_family(name, None, {})
    assert opened.family.spec.name == opened.name == name
    assert (opened.use, opened.sha256) == (None, None)
    assert json.loads(json.dumps(opened.options)) == opened.options
    again = open_family(name, None, opened.options)
    assert again.options == opened.options
    assert again.family.spec == opened.family.spec


def test_families_are_listed_where_one_is_not_there() -> None:
    assert {*BUILT_IN} <= {*families()}
    assert refusal("hexapod") == f"[family] name is 'hexapod'; valid: {', '.join(families())}"
    wanted = f'[family] needs either name, one of {", ".join(families())}, or use = "FILE.py:Class"'
    assert refusal() == wanted
    assert refusal("servo", "robot.py:Robot") == wanted


def test_options_are_the_familys_dataclass() -> None:
    opened = open_family("servo", None, {"preset": "miswired", "through_stops": True})
    assert opened.family == ServoFamily("miswired", through_stops=True)
    assert opened.options["through_stops"] is True
    assert "unknown key 'speed'; valid keys: preset, ranges, price, through_stops" in refusal(
        "servo", options={"speed": 1}
    )
    assert refusal("servo", options={"preset": 3}) == "family.options.preset must be a string, found 3"


# From a file.


def test_a_class_of_a_file_is_a_family(here: Path) -> None:
    opened = open_family(None, "robot.py:Robot", {"arms": 3, "reach": [1, 2]})
    assert opened.family.spec == SPEC
    assert opened.name == "glider"
    assert opened.use == f"{here / 'robot.py'}:Robot"
    assert opened.sha256 == hashlib.sha256(ROBOT.encode()).hexdigest()
    assert opened.options == {
        "mirrored": True,
        "arms": 3,
        "reach": [1.0, 2.0],
        "masses": [1.0],
        "name": "r2",
        "grip": "soft",
        "rows": [],
    }
    assert len(opened.family.parameters(opened.family.sample(4, np.random.default_rng(0)))) == 4  # type: ignore[arg-type]


@pytest.mark.usefixtures("here")
def test_a_class_without_options_is_one_as_well() -> None:
    opened = open_family(None, "robot.py:Plain", {})
    assert opened.family.spec == SPEC
    assert opened.options == {}
    assert refusal(use="robot.py:Plain", options={"x": 1}) == (
        "robot.py:Plain takes no options: it is no dataclass; remove [family.options]"
    )


def test_a_file_is_read_anew_each_time(here: Path) -> None:
    first = open_family(None, "robot.py:Robot", {})
    (here / "robot.py").write_text(ROBOT.replace("arms: int = 2", "arms: int = 6"))
    second = open_family(None, "robot.py:Robot", {})
    assert (first.options["arms"], second.options["arms"]) == (2, 6)
    assert first.sha256 != second.sha256


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "use", ["robot.py", "robot", "robot:Robot", "robot.py:", ":Robot", "robot.py:a b", "x.toml:A"]
)
def test_a_use_that_names_no_class_of_a_file_is_refused(use: str) -> None:
    assert refusal(use=use) == f'[family] use is {use!r}, expected "FILE.py:Class"'


def test_a_file_that_is_not_there_is_refused(here: Path) -> None:
    assert refusal(use="robots.py:Robot") == (
        "[family] use names the file robots.py, which does not exist; looked for robots.py"
    )
    away = here / "away" / "robot.py"
    assert refusal(use=f"{away}:Robot") == (
        f"[family] use names the file {away}, which does not exist; looked for {away}"
    )


def test_a_file_is_found_in_folders_by_its_place_or_by_its_name(here: Path) -> None:
    away = here / "away"
    away.mkdir()
    shutil.move(here / "robot.py", away)
    for use in ("robot.py:Robot", "lost/robot.py:Robot", "/nowhere/robot.py:Robot"):
        assert open_family(None, use, {}, folders=[away]).use == f"{away / 'robot.py'}:Robot"


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_does_not_import_is_refused_with_the_line(here: Path, name: str) -> None:
    text, sentence = BROKEN[name]
    (here / name).write_text(text)
    found = refusal(use=f"{name}:Robot")
    assert found.startswith(f"{here / name} cannot be imported: {sentence}")
    assert not any(
        module.__name__.endswith(Path(name).stem)
        for module in sys.modules.values()
        if "acclimate_family" in module.__name__
    )


def test_a_class_that_is_not_there_is_refused_with_the_families_that_are(here: Path) -> None:
    found = refusal(use="robot.py:Rover")
    assert found.startswith(f"{here / 'robot.py'} has no class 'Rover'; it has: Robot, Plain, ")
    assert "Tool" not in found
    assert "has no class 'NUMBER'" in refusal(use="robot.py:NUMBER")
    (here / "empty.py").write_text("x = 1\n")
    assert refusal(use="empty.py:Robot") == f"{here / 'empty.py'} has no class 'Robot'; it has: none"
    (here / "other.py").write_text("class Tool: ...\n")
    assert refusal(use="other.py:Robot") == f"{here / 'other.py'} has no class 'Robot'; it has: Tool"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("cls", "sentence"),
    [
        ("Tool", "is no task family: it lacks 'sample'; see docs/families.md for the contract"),
        ("Speechless", "is no task family: it lacks 'spec'; see docs/families.md for the contract"),
        ("Wordy", "is no task family: it lacks 'spec'; see docs/families.md for the contract"),
        ("Moody", "cannot be made: RuntimeError: not today"),
        ("Quitter", "cannot be made: SystemExit: 3"),
    ],
)
def test_a_class_that_is_no_family_is_refused(cls: str, sentence: str) -> None:
    assert refusal(use=f"robot.py:{cls}") == f"robot.py:{cls} {sentence}"


@pytest.mark.usefixtures("here")
def test_a_spec_that_breaks_its_own_rules_is_refused() -> None:
    found = refusal(use="robot.py:Contradictory")
    assert found == "robot.py:Contradictory: task 'glider': horizon must be at least 1, found 0"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"legs": 2}, "[family.options] unknown key 'legs'; valid keys: mirrored, arms, reach, masses, name, grip, limit, rows"),  # noqa: E501
        ({"known": 2}, "[family.options] unknown key 'known'; valid keys: mirrored, arms, reach, masses, name, grip, limit, rows"),  # noqa: E501
        ({"arms": 2.5}, "family.options.arms must be an integer, found 2.5"),
        ({"grip": "firm"}, "family.options.grip is 'firm'; valid: soft, hard"),
        ({"limit": "x"}, "family.options.limit must be a finite number, found 'x'"),
    ],
)  # fmt: skip
def test_options_that_a_family_does_not_have_are_refused(options: dict[str, Any], sentence: str) -> None:
    assert refusal(use="robot.py:Robot", options=options) == sentence


# Of a package.


class Registered:
    """An entry point that a package might have."""

    def __init__(self, value: str) -> None:
        self.entry = metadata.EntryPoint("glider", value, GROUP)

    def __call__(self, *, group: str, name: str | None = None) -> tuple[metadata.EntryPoint, ...]:
        return (self.entry,) if group == GROUP and name in (None, "glider") else ()


def registered(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setattr(registry.metadata, "entry_points", Registered(value))


def test_a_package_brings_families_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    registered(monkeypatch, "tests.trainer.families:GliderFamily")
    assert "glider" in families()
    opened = open_family("glider", None, {"mirrored": False})
    assert (opened.name, opened.use, opened.options) == ("glider", None, {"mirrored": False})
    assert opened.family.spec.name == "glider"
    tree = {"name": "g", "seed": 0, "family": {"name": "glider"}, "training": {}, "robust": {}}
    assert parse_config(tree, "here").opened.family.spec == SPEC


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            "no_such_package:Glider",
            "family 'glider', no_such_package:Glider, cannot be loaded: ModuleNotFoundError: ",
        ),
        (
            "tests.trainer.families:Nothing",
            "family 'glider', tests.trainer.families:Nothing, cannot be loaded: ",
        ),
        ("tests.trainer.families:SPEC", "family 'glider' is tests.trainer.families:SPEC, which is no class"),
        ("tests.trainer.families:GliderSession", "glider is no task family: it lacks 'sample'"),
    ],
)
def test_an_entry_point_that_leads_nowhere_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str, sentence: str
) -> None:
    registered(monkeypatch, value)
    assert refusal("glider").startswith(sentence)


# In a config.

CONFIG = """
name = "mine"
seed = 0
[family]
use = "parts/robot.py:Robot"
options.name = 'say "hi"'
[training]
[robust]
"""


def test_a_file_is_named_relative_to_the_config_from_wherever_it_is_read(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, elsewhere = here / "project", here / "elsewhere"
    (project / "parts").mkdir(parents=True)
    elsewhere.mkdir()
    shutil.move(here / "robot.py", project / "parts")
    (project / "mine.toml").write_text(CONFIG)
    for folder, name in (
        (project, "mine.toml"),
        (here, "project/mine.toml"),
        (elsewhere, "../project/mine.toml"),
    ):
        monkeypatch.chdir(folder)
        opened = load_config(Path(name)).opened
        assert opened.use is not None
        file, _, cls = opened.use.rpartition(":")
        assert Path(file).samefile(project / "parts" / "robot.py")
        assert cls == "Robot"
        assert opened.options["name"] == 'say "hi"'


def test_a_resolved_config_finds_the_file_from_anywhere(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "parts").mkdir()
    shutil.move(here / "robot.py", here / "parts")
    (here / "mine.toml").write_text(CONFIG)
    config = load_config(Path("mine.toml"))
    (here / "run").mkdir()
    (here / "run" / "config.toml").write_text(to_toml(config))
    monkeypatch.chdir("/")
    again = load_config(here / "run" / "config.toml")
    assert again.tree() == config.tree() == parse_config(tomllib.loads(to_toml(config)), "resolved").tree()
    assert again.opened.sha256 == config.opened.sha256
    spec: TaskSpec = again.opened.family.spec
    assert spec == SPEC


def test_a_config_whose_file_is_gone_says_where_it_looked(here: Path) -> None:
    (here / "mine.toml").write_text(CONFIG)
    with pytest.raises(ConfigError) as caught:
        load_config(Path("mine.toml"))
    place = here / "parts" / "robot.py"
    expected = f"mine.toml: [family] use names the file {place}, which does not exist; looked for {place}"
    assert str(caught.value) == expected


def test_what_is_opened_is_a_family() -> None:
    family: TaskFamily[Any] = open_family("point", None, {}).family
    assert family.sample(2, np.random.default_rng(0))
