"""Configs: whatever is wrong ends in one sentence that names file, section and key; what is right comes back."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
from acclimate.errors import UsageError
from acclimate_trainer.algorithms.distillation.student import StudentConfig
from acclimate_trainer.algorithms.maml.maml import MamlConfig
from acclimate_trainer.algorithms.reactive import ReactiveConfig
from acclimate_trainer.algorithms.rl2.ppo import PpoConfig
from acclimate_trainer.algorithms.rl2.rl2 import Rl2Config
from acclimate_trainer.algorithms.successor.library import SuccessorConfig
from acclimate_trainer.algorithms.successor.objectives import ObjectivesConfig
from acclimate_trainer.outer_loop.training import TrainingConfig
from acclimate_trainer.runs.algorithms import algorithm_of
from acclimate_trainer.runs.built_in import built_in, find_config
from acclimate_trainer.runs.configuration import (
    ALGORITHMS,
    Config,
    FamilyConfig,
    load_config,
    parse_config,
    to_toml,
)
from acclimate_trainer.settings.tables import ConfigError, Value
from acclimate_trainer.tasks.registry import families
from acclimate_trainer.tasks.servo.family import ServoFamily
from acclimate_trainer.tasks.servo.ranges import PRESETS, ServoRanges
from hypothesis import given, settings
from hypothesis import strategies as st

SMALL = """
name = "small"
seed = 0
[family]
name = "servo"
[training]
[robust]
"""
SERVO = '[family]\nname = "servo"'


def keys(section: type) -> str:
    return ", ".join(field.name for field in fields(section))


NAME = "name must be letters, digits, '_', '.' and '-', beginning with a letter"
SECTIONS = "expected exactly one of the sections " + ", ".join(f"[{name}]" for name in ALGORITHMS)
RANGES = f"valid keys: {keys(ServoRanges)}"
FAMILIES = ", ".join(families())


def refusal(text: str, path: Path) -> str:
    """The sentence that a config is refused with, the file's name taken off."""
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.startswith(f"{path}: ")
    return sentence.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("seed = 0", "seed = 0\nsede = 1", f"unknown key 'sede'; valid keys: {keys(Config)}"),
        ("[training]", "[training]\nlr = 1", f"[training] unknown key 'lr'; valid keys: {keys(TrainingConfig)}"),
        ("[robust]", "[robust]\nwidth = 1", f"[robust] unknown key 'width'; valid keys: {keys(ReactiveConfig)}"),
        ("[robust]", "[maml]\nk = 1", f"[maml] unknown key 'k'; valid keys: {keys(MamlConfig)}"),
        ("[family]", "[family]\nkind = 1", f"[family] unknown key 'kind'; valid keys: {keys(FamilyConfig)}"),
        (SERVO, f"{SERVO}\noptions.kind = 1", f"[family.options] unknown key 'kind'; valid keys: {keys(ServoFamily)}"),
        (SERVO, f"{SERVO}\noptions.ranges.mass = 1", f"[family.options] ranges: unknown key 'mass'; {RANGES}"),
        ('name = "small"', "", "lacks 'name'"),
        ("seed = 0", "", "lacks 'seed'"),
        ("[training]", "", "lacks 'training'"),
        (SERVO, "", "lacks 'family'"),
        ('name = "small"', "name = 3", "name must be a string, found 3"),
        ('"small"', '"../up"', f"{NAME}, found '../up'"),
        ('"small"', '""', f"{NAME}, found ''"),
        ("seed = 0", "seed = -1", "seed must be at least 0, found -1"),
        ("seed = 0", "seed = true", "seed must be an integer, found True"),
        ("seed = 0", "seed = 0.0", "seed must be an integer, found 0.0"),
        ("seed = 0", 'seed = "0"', "seed must be an integer, found '0'"),
        ("seed = 0", "seed = 0\nclassical = 1", "classical must be true or false, found 1"),
        ("[training]", "[training]\nouter_lr = '1'", "training.outer_lr must be a finite number, found '1'"),
        ("[training]", "[training]\nouter_lr = nan", "training.outer_lr must be a finite number, found nan"),
        ("[training]", "[training]\nouter_lr = inf", "training.outer_lr must be a finite number, found inf"),
        ("[training]", "[training]\nouter_lr = true", "training.outer_lr must be a finite number, found True"),
        ("[training]", "[training]\nouter_lr = 0", "[training] outer_lr must be above 0, found 0.0"),
        ("[training]", "[training]\niterations = 0", "[training] iterations must be at least 1, found 0"),
        ("[training]", "[training]\niterations = 1.0", "training.iterations must be an integer, found 1.0"),
        ("[training]", "[training]\nmeta_batch_size = -2", "[training] meta_batch_size must be at least 1, found -2"),
        ("[training]", "[training]\nfinal_lr = 2", "[training] final_lr must be from 0 to 1, found 2.0"),
        ("[robust]", "[robust]\nhidden = 0", "[robust] hidden must be at least 1, found 0"),
        ("[robust]", "[robust]\ndepth = 0", "[robust] depth must be at least 1, found 0"),
        ("[robust]", '[robust]\nactivation = "sine"', "robust.activation is 'sine'; valid: tanh, relu, elu, silu"),
        ("[robust]", "[robust]\nactivation = [1]", "robust.activation is [1]; valid: tanh, relu, elu, silu"),
        ("[robust]", "[robust]\ncurriculum = 1", "robust.curriculum must be two numbers, found 1"),
        ("[robust]", "[robust]\ncurriculum = [1]", "robust.curriculum must be two numbers, found [1]"),
        ("[robust]", "[oracle]\nepisodes = 0", "[oracle] episodes must be at least 1, found 0"),
        ("[robust]", "[maml]\ndiscount = 1.5", "[maml] discount must be from 0 to 1, found 1.5"),
        ("[robust]", "[maml]\nadapt_steps = 0", "[maml] adapt_steps must be at least 1, found 0"),
        ("[robust]", "[rl2]\nwidth = 1", f"[rl2] unknown key 'width'; valid keys: {keys(Rl2Config)}"),
        ("[robust]", "[rl2]\nepisodes = 0", "[rl2] episodes must be at least 1, found 0"),
        ("[robust]", "[rl2]\nchange = 1.5", "[rl2] change must be from 0 to 1, found 1.5"),
        ("[robust]", "[rl2]\nblock = 0", "[rl2] block must be at least 1, found 0"),
        ("[robust]", "[rl2_oracle]\nhidden = 0", "[rl2_oracle] hidden must be at least 1, found 0"),
        ("[robust]", "[student]", "[student] teacher must name the folder of a run of an oracle"),
        ("[robust]", "[student]\nteacher = 'x'\ntolerance = 0", "[student] tolerance must be above 0, found 0.0"),
        ("[robust]", "[student]\nteacher = 'x'\nwindow = 25", "[student] window must be 0, found 25: a teacher is imitated over whole trials"),  # noqa: E501
        ("[robust]", "[student]\nteacher = 'x'\nexplore = 9", "[student] explore must be from 0 to side_by_side, 6, found 9"),  # noqa: E501
        ("[robust]", "[objectives]\ndefault.quiet = -1", "[objectives] default: quiet must be a finite number, at least 0, found -1.0"),  # noqa: E501
        ("[robust]", "[objectives]\nlibrary = 3", "objectives.library must be a list of tables, found 3"),
        ("[robust]", "[objectives]\nlibrary = [3]", "objectives.library[0] must be a section, found 3"),
        ("[family]\nname", '[family]\nkind = "arm"\nname', f"[family] unknown key 'kind'; valid keys: {keys(FamilyConfig)}"),  # noqa: E501
        ('"servo"', '"hexapod"', f"[family] name is 'hexapod'; valid: {FAMILIES}"),
        ('"servo"', '["servo"]', "family.name must be a string, found ['servo']"),
        (SERVO, "[family]", f'[family] needs either name, one of {FAMILIES}, or use = "FILE.py:Class"'),
        (SERVO, f'{SERVO}\nuse = "x.py:X"', f'[family] needs either name, one of {FAMILIES}, or use = "FILE.py:Class"'),
        (SERVO, f"{SERVO}\noptions = 3", "family.options must be a section, found 3"),
        (SERVO, f'{SERVO}\noptions.preset = "narrow"', f"[family.options] preset is 'narrow'; valid: {', '.join(PRESETS)}"),  # noqa: E501
        (SERVO, f"{SERVO}\noptions.ranges = 3", "family.options.ranges must be a section, found 3"),
        (SERVO, f"{SERVO}\noptions.through_stops = 3", "family.options.through_stops must be true or false, found 3"),
        ("[robust]", "[successor]\nwidth = 1", f"[successor] unknown key 'width'; valid keys: {keys(SuccessorConfig)}"),
        ("[robust]", "[successor]\ndiscount = 1", "[successor] discount must be from 0 to below 1, found 1.0"),
        ("[robust]", "[ppo]\nwidth = 0.1", f"[ppo] unknown key 'width'; valid keys: {keys(PpoConfig)}"),
        ("[robust]", "[ppo]\nclip_ratio = 0", "[ppo] clip_ratio must be above 0, found 0.0"),
        ("[robust]", "[ppo]\nminibatches = 0", "[ppo] minibatches must be at least 1, found 0"),
        ("[robust]", "", f"{SECTIONS}, found none"),
        ("[robust]", "[maml]\n[oracle]", f"{SECTIONS}, found [maml] and [oracle]"),
        ('name = "small"', 'name = "small"\nmaml = 3', "[maml] must be a section, found 3"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_place(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    assert old in SMALL
    assert refusal(SMALL.replace(old, new, 1), tmp_path / "small.toml") == sentence


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("kt = 3", "ranges: kt must be two numbers, found 3"),
        ("kt = [1]", "ranges: kt must be two numbers, found [1]"),
        ("kt = [1, 'a']", "ranges: kt[1] must be a finite number, found 'a'"),
        ("kt = [1, inf]", "ranges: kt[1] must be a finite number, found inf"),
        ("spread = [1, 2]", "ranges: spread must be a finite number, found [1, 2]"),
        ("armature = [-0.01, 0.02]", "ranges: range armature must lie above 0, found [-0.01, 0.02]"),
        ("delay = [0, 0.05]", "ranges: range delay must lie from 0 to 0.03, found [0.0, 0.05]"),
    ],
)
def test_ranges_that_cannot_be_are_refused_with_their_place(line: str, sentence: str, tmp_path: Path) -> None:
    text = SMALL.replace(SERVO, f"{SERVO}\n[family.options.ranges]\n{line}")
    assert refusal(text, tmp_path / "small.toml") == f"[family.options] {sentence}"


def test_the_small_config_itself_is_right(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    expected = Config("small", 0, FamilyConfig("servo"), TrainingConfig(), robust=ReactiveConfig())
    assert load_config(tmp_path / "small.toml") == expected


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_bytes(b"\xef\xbb\xbf" + SMALL.encode())
    assert load_config(tmp_path / "small.toml").name == "small"


@pytest.mark.parametrize("text", ["name = ", "[family", "name = 'a'\nname = 'b'", "\x00"])
def test_what_is_not_toml_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"broken\.toml is not valid TOML: ") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load_config(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path)
    assert str(caught.value) == f"cannot read config {tmp_path}: Is a directory"


# The configs that come with Acclimate.


@pytest.mark.parametrize(
    ("name", "hint"),
    [("nowhere.toml", ""), ("servo_wide_mamml", "; did you mean 'servo_wide_maml'?"), ("", "")],
)
def test_a_config_that_is_not_there_is_refused_with_the_built_in_ones(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_config(name)
    listed = f"give a TOML file, or a built-in one: {', '.join(built_in())}"
    between = " " if hint else "; "
    assert str(caught.value) == f"there is no config {name!r}{hint}{between}{listed}"


@pytest.mark.parametrize("name", built_in())
def test_a_built_in_config_has_its_own_name_and_trains_and_reads_back_as_itself(name: str) -> None:
    config = load_config(built_in()[name])
    assert config.name == name
    assert algorithm_of(config)
    again = parse_config(tomllib.loads(to_toml(config)), "resolved")
    assert again.tree() == config.tree()
    assert again.opened.family.spec == config.opened.family.spec


def test_the_built_in_configs_cover_every_preset_of_servos() -> None:
    wanted = ("maml", "robust", "oracle", "rl2", "rl2_oracle", "student", "identify")
    assert {f"servo_{preset}_{algorithm}" for preset in PRESETS for algorithm in wanted} <= built_in().keys()
    for preset in PRESETS:
        for algorithm in wanted:
            config = load_config(built_in()[f"servo_{preset}_{algorithm}"])
            assert config.algorithm == algorithm
            assert config.opened.options["preset"] == preset


def test_a_built_in_name_is_found_and_a_file_of_that_name_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config("servo_wide_maml") == built_in()["servo_wide_maml"]
    Path("servo_wide_maml").write_text(SMALL)
    assert find_config("servo_wide_maml") == Path("servo_wide_maml")


# What is written is read back.


def read_back(config: Config) -> Config:
    return parse_config(tomllib.loads(to_toml(config)), "resolved")


def test_ranges_replace_the_presets_one_by_one() -> None:
    family = ServoFamily("miswired", {"delay": [0, 0.01], "spread": 2})
    assert family.training == replace(PRESETS["miswired"], delay=(0.0, 0.01), spread=2.0)
    config = Config(
        "small", 0, FamilyConfig("servo", options=family.options()), TrainingConfig(), rl2=Rl2Config()
    )
    opened = read_back(config).opened.family
    assert isinstance(opened, ServoFamily)
    assert opened.training == family.training


def test_a_resolved_config_states_every_default() -> None:
    tree = tomllib.loads(to_toml(load_config(built_in()["servo_wide_maml"])))
    for section, found in (("maml", MamlConfig()), ("training", TrainingConfig())):
        assert tree[section].keys() == asdict(found).keys()
    assert tree["family"] == {"name": "servo", "options": ServoFamily().options()}


def test_a_resolved_config_is_json_as_well() -> None:
    tree = load_config(built_in()["servo_wide_objectives"]).tree()
    assert json.loads(json.dumps(tree)) == tree


positive = st.floats(1e-9, 1e9)
counts = st.integers(1, 10**12)
shares = st.floats(0, 1)
intervals = st.tuples(st.floats(1e-6, 1.0), st.floats(1.0, 1e6)).map(list)
text = st.text(st.characters(codec="utf-8"), max_size=20)
bends = st.sampled_from(["tanh", "relu", "elu", "silu"])
objective = st.dictionaries(st.sampled_from(["quiet", "fast", 'odd "name"\n']), positive, max_size=2)


@settings(max_examples=100, deadline=None)
@given(
    name=st.from_regex(r"[A-Za-z][A-Za-z0-9_.\-]{0,20}", fullmatch=True),
    seed=st.integers(0, 2**63 - 1),
    options=st.fixed_dictionaries(
        {},
        optional={
            "preset": st.sampled_from(sorted(PRESETS)),
            "ranges": st.fixed_dictionaries(
                {}, optional={"kt": intervals, "drive_gain": intervals, "spread": st.floats(1, 9)}
            ),
            "through_stops": st.booleans(),
        },
    ),
    training=st.builds(TrainingConfig, counts, counts, positive, shares, positive, positive),
    section=st.one_of(
        st.builds(lambda *a: {"robust": ReactiveConfig(*a)}, counts, counts, bends, counts, counts, shares),
        st.builds(
            lambda teacher, share: {"student": StudentConfig(teacher=teacher + "x", imitation=share)},
            text,
            shares,
        ),
        st.builds(
            lambda default, library: {
                "objectives": ObjectivesConfig(default=default, library=tuple(library))
            },
            objective,
            st.lists(objective, max_size=2),
        ),
    ),
    classical=st.booleans(),
)
def test_any_config_reads_back_as_itself(
    name: str,
    seed: int,
    options: dict[str, Value],
    training: TrainingConfig,
    section: dict[str, ReactiveConfig],
    classical: bool,
) -> None:
    """Whatever characters its strings hold; the family's options with every default, and so just once."""
    config = Config(name, seed, FamilyConfig("servo", options=options), training, classical, **section)  # type: ignore[arg-type]
    once = read_back(config)
    assert replace(once, family=config.family) == config
    assert once.opened.family.spec == config.opened.family.spec
    assert read_back(once) == once


# Changes on the command line.


def changed(*changes: str, text: str = SMALL.replace("[robust]", "[objectives]")) -> Config:
    return parse_config(tomllib.loads(text), "small", changes=changes)


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ("objectives.hidden=64", "hidden", 64),
        (" objectives . hidden = 64 ", "hidden", 64),
        ("objectives.change=0.25", "change", 0.25),
        ("objectives.change=1", "change", 1.0),
        ("objectives.curriculum=[0.1, 0.5]", "curriculum", (0.1, 0.5)),
        ("objectives.default={quiet=2.0}", "default", {"quiet": 2.0}),
        ("objectives.default.quiet=2.0", "default", {"quiet": 2.0}),
        ("objectives.library=[{quiet=1}, {fast=1}]", "library", ({"quiet": 1}, {"fast": 1})),
    ],
)
def test_a_value_is_set_as_in_toml(change: str, key: str, value: object) -> None:
    assert getattr(changed(change).objectives, key) == value


def test_values_may_be_given_as_they_are() -> None:
    changes = {
        "name": 'it"s',
        "robust.activation": "elu",
        "classical": False,
        "robust.curriculum": (0.1, 0.2),
    }
    with pytest.raises(ConfigError, match=r"found 'it\"s'$"):
        parse_config(tomllib.loads(SMALL), "small", changes=changes)
    config = parse_config(tomllib.loads(SMALL), "small", changes=changes | {"name": "good"})
    assert config.robust == ReactiveConfig(activation="elu", curriculum=(0.1, 0.2))
    assert (config.name, config.classical) == ("good", False)


def test_several_are_set_in_their_order_and_the_tree_stays_as_it_was() -> None:
    tree = tomllib.loads(SMALL)
    config = parse_config(tree, "small", changes=["seed=3", "robust.hidden=8", "seed=4", "name=other"])
    assert (config.seed, config.name, config.robust) == (4, "other", ReactiveConfig(hidden=8))
    assert tree == tomllib.loads(SMALL)


@pytest.mark.parametrize("text", ["silu", '"silu"', "'silu'"])
def test_quotes_may_be_left_out(text: str) -> None:
    found = changed(f"robust.activation={text}", text=SMALL).robust
    assert found is not None
    assert found.activation == "silu"


def test_options_of_the_family_are_set_at_any_depth() -> None:
    family = changed(
        "family.options.preset=miswired", "family.options.ranges.delay=[0.0, 0.01]"
    ).opened.family
    assert isinstance(family, ServoFamily)
    assert family.training == replace(PRESETS["miswired"], delay=(0.0, 0.01))


def test_a_section_that_was_not_there_is_made() -> None:
    assert changed("robust.hidden=8", text=SMALL.replace("[robust]", "")).robust == ReactiveConfig(hidden=8)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("hidden", "--set 'hidden' is not SECTION.KEY=VALUE, as in maml.hidden=64"),
        ("=3", "cannot set '': expected SECTION.KEY, as in maml.hidden"),
        ("objectives.=3", "cannot set 'objectives.': expected SECTION.KEY, as in maml.hidden"),
        (".hidden=3", "cannot set '.hidden': expected SECTION.KEY, as in maml.hidden"),
        ("seed.x=3", "cannot set 'seed.x': seed is no section"),
        ("objectives.width=3", f"small: [objectives] unknown key 'width'; valid keys: {keys(ObjectivesConfig)}"),
        ("objective.hidden=3", f"small: unknown key 'objective'; valid keys: {keys(Config)}"),
        ("objectives.hidden=x", "small: objectives.hidden must be an integer, found 'x'"),
        ("objectives.hidden=2.0", "small: objectives.hidden must be an integer, found 2.0"),
        ("objectives.hidden=", "small: objectives.hidden must be an integer, found ''"),
        ("objectives.hidden=0", "small: [objectives] hidden must be at least 1, found 0"),
        ("objectives.default.quiet=loud", "small: objectives.default.quiet must be a finite number, found 'loud'"),
        ("robust.hidden=8", f"small: {SECTIONS}, found [objectives] and [robust]"),
    ],
)  # fmt: skip
def test_a_change_that_cannot_be_is_refused(change: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        changed(change)
    assert str(caught.value) == sentence
