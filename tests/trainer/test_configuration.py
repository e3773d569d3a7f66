"""Configs: whatever is wrong ends in one sentence that names file, section and key; what is right comes back."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
from acclimate.errors import UsageError
from acclimate_trainer.algorithms.maml.maml import MamlConfig
from acclimate_trainer.algorithms.reactive import ReactiveConfig
from acclimate_trainer.algorithms.rl2.ppo import PpoConfig
from acclimate_trainer.algorithms.rl2.rl2 import Rl2Config
from acclimate_trainer.algorithms.rl2.servo_ppo import ServoPpoConfig
from acclimate_trainer.algorithms.successor.library import SuccessorConfig
from acclimate_trainer.baselines.pid_search import PidConfig
from acclimate_trainer.command.train import algorithm_of
from acclimate_trainer.outer_loop.training import TrainingConfig
from acclimate_trainer.runs.configuration import (
    ALGORITHMS,
    BanditConfig,
    Config,
    ConfigError,
    FamilyConfig,
    TabularConfig,
    built_in,
    family_ranges,
    find_config,
    load_config,
    parse_config,
    to_toml,
)
from acclimate_trainer.tasks.servo import PRESETS, ServoRanges
from hypothesis import given, settings
from hypothesis import strategies as st

SMALL = """
name = "small"
seed = 0
[family]
[training]
[robust]
"""


def keys(section: type) -> str:
    return ", ".join(field.name for field in fields(section))


NAME = "name must be letters, digits, '_', '.' and '-', beginning with a letter"
SECTIONS = "expected exactly one of the sections " + ", ".join(f"[{name}]" for name in ALGORITHMS)
RANGE_KEYS = f"valid keys: {keys(ServoRanges)}"


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
        ("[robust]", "[robust]\n[pid]\nkp = 1", f"[pid] unknown key 'kp'; valid keys: {keys(PidConfig)}"),
        ("[family]", "[family]\nkind = 1", f"[family] unknown key 'kind'; valid keys: {keys(FamilyConfig)}"),
        ("[family]", "[family.ranges]\nmass = 1", f"[family.ranges] unknown key 'mass'; {RANGE_KEYS}"),
        ('name = "small"', "", "lacks 'name'"),
        ("seed = 0", "", "lacks 'seed'"),
        ("[training]", "", "lacks 'training'"),
        ('name = "small"', "name = 3", "name must be a string, found 3"),
        ('"small"', '"../up"', f"{NAME}, found '../up'"),
        ('"small"', '""', f"{NAME}, found ''"),
        ("seed = 0", "seed = -1", "seed must be at least 0, found -1"),
        ("seed = 0", "seed = true", "seed must be an integer, found True"),
        ("seed = 0", "seed = 0.0", "seed must be an integer, found 0.0"),
        ("seed = 0", 'seed = "0"', "seed must be an integer, found '0'"),
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
        ("[robust]", "[oracle]\nepisodes = 0", "[oracle] episodes must be at least 1, found 0"),
        ("[robust]", "[maml]\ndiscount = 1.5", "[maml] discount must be from 0 to 1, found 1.5"),
        ("[robust]", "[maml]\nadapt_steps = 0", "[maml] adapt_steps must be at least 1, found 0"),
        ("[robust]", "[rl2]\nwidth = 1", f"[rl2] unknown key 'width'; valid keys: {keys(Rl2Config)}"),
        ("[robust]", "[rl2]\nepisodes = 0", "[rl2] episodes must be at least 1, found 0"),
        ("[robust]", "[rl2]\nchange = 1.5", "[rl2] change must be from 0 to 1, found 1.5"),
        ("[robust]", "[student]", "[student] teacher must name the folder of a run of an oracle"),
        ("[robust]", "[student]\nteacher = 'x'\ntolerance = 0", "[student] tolerance must be above 0, found 0.0"),
        ("[robust]", "[student]\nteacher = 'x'\nexplore = 9", "[student] explore must be from 0 to side_by_side, 6, found 9"),  # noqa: E501
        ("[robust]", "[robust]\n[pid]\nrounds = 0", "[pid] rounds must be at least 1, found 0"),
        ("[family]", '[family]\nname = "arm"', "[family] name is 'arm'; valid: 'servo', 'bandit', 'tabular', 'reacher'"),  # noqa: E501
        ("[family]", '[family]\nname = "bandit"\narms = 0', "[family] arms must be at least 1, found 0"),
        ("[family]", '[family]\nname = "tabular"\npreset = "wide"', "[family] unknown key 'preset'; valid keys: name, episodes"),  # noqa: E501
        ("[family]", '[family]\nname = "bandit"', "[robust] does not train on the family 'bandit'; valid there: [ppo]"),
        ("[family]", '[family]\nname = ["bandit"]', "[family] name is ['bandit']; valid: 'servo', 'bandit', 'tabular', 'reacher'"),  # noqa: E501
        ("[family]", '[family]\nname = "reacher"', "[robust] does not train on the family 'reacher'; valid there: [successor]"),  # noqa: E501
        ("[robust]", "[successor]", "[successor] does not train on the family 'servo'; valid there: " + ", ".join(f"[{name}]" for name in ALGORITHMS[:-1])),  # noqa: E501
        ("[family]", '[family]\nname = "reacher"\ntargets = "all"', "[family] targets is 'all'; valid: training, test"),
        ("[family]", '[family]\nname = "reacher"\nepisode_steps = 0', "[family] episode_steps must be at least 1, found 0"),  # noqa: E501
        ("[robust]", "[successor]\nwidth = 1", f"[successor] unknown key 'width'; valid keys: {keys(SuccessorConfig)}"),
        ("[robust]", '[successor]\nnetwork = "one"', "[successor] network is 'one'; valid: library, separate, universal"),  # noqa: E501
        ("[robust]", '[successor]\nfeatures = "none"', "[successor] features is 'none'; valid: given, learned"),
        ("[robust]", '[successor]\nobjectives = "far"', "[successor] objectives is 'far'; valid: near, all"),
        ("[robust]", "[successor]\nexploration = [1, 2]", "[successor] exploration must be two numbers from 0 to 1, found [1.0, 2.0]"),  # noqa: E501
        ("[robust]", "[successor]\ndiscount = 1", "[successor] discount must be from 0 to below 1, found 1.0"),
        ("[robust]", "[successor]\nrefine_steps = -1", "[successor] refine_steps must be at least 0, found -1"),
        ("[robust]", '[successor]\nnetwork = "universal"\nrefine_steps = 2', "[successor] refine_steps refines one policy of a library, which network 'universal' is not; expected 0, found 2"),  # noqa: E501
        ("[robust]", "[successor]\ntrace = 2", "[successor] trace must be from 0 to 1, found 2.0"),
        ("[robust]", "[successor]\nwindow_steps = 0", "[successor] window_steps must be at least 1, found 0"),
        ("[robust]", '[successor]\nnetwork = "universal"\nfeatures = "learned"', "[successor] network 'universal' learns from the family's features; expected features 'given', found 'learned'"),  # noqa: E501
        ("[robust]", "[ppo]\nentropy = 0.1", f"[ppo] unknown key 'entropy'; valid keys: {keys(ServoPpoConfig)}"),
        ("[robust]", "[ppo]\nclip_ratio = 0", "[ppo] clip_ratio must be above 0, found 0.0"),
        ("[robust]", "[ppo]\nchange = 2", "[ppo] change must be from 0 to 1, found 2.0"),
        ("[robust]", "[ppo]\nminibatches = 0", "[ppo] minibatches must be at least 1, found 0"),
        ("[family]", '[family]\npreset = "narrow"', f"[family] preset is 'narrow'; valid: {', '.join(PRESETS)}"),
        ("[family]", "[family]\nranges = 3", "family.ranges must be a section, found 3"),
        ("[family]", "[family.ranges]\nkt = 3", "family.ranges.kt must be two numbers, found 3"),
        ("[family]", "[family.ranges]\nkt = [1]", "family.ranges.kt must be two numbers, found [1]"),
        ("[family]", "[family.ranges]\nkt = [1, 'a']", "family.ranges.kt must be a finite number, found 'a'"),
        ("[family]", "[family.ranges]\nkt = [1, inf]", "family.ranges.kt must be a finite number, found inf"),
        ("[family]", "[family.ranges]\nspread = [1, 2]", "family.ranges.spread must be a finite number, found [1, 2]"),
        (
            "[family]",
            "[family.ranges]\narmature = [-0.01, 0.02]",
            "[family.ranges] range armature must lie above 0, found [-0.01, 0.02]",
        ),
        (
            "[family]",
            "[family.ranges]\ndelay = [0, 0.05]",
            "[family.ranges] range delay must lie from 0 to 0.03, found [0.0, 0.05]",
        ),
        ("[robust]", "", f"{SECTIONS}, found none"),
        (
            "[robust]",
            "[maml]\n[oracle]",
            f"{SECTIONS}, found [maml] and [oracle]",
        ),
        ('name = "small"', 'name = "small"\nmaml = 3', "[maml] must be a section, found 3"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_place(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    assert old in SMALL
    assert refusal(SMALL.replace(old, new, 1), tmp_path / "small.toml") == sentence


def test_the_small_config_itself_is_right(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    expected = Config("small", 0, FamilyConfig(), TrainingConfig(), robust=ReactiveConfig())
    assert load_config(tmp_path / "small.toml") == expected


@pytest.mark.parametrize("text", ["name = ", "[family", "name = 'a'\nname = 'b'", "\x00"])
def test_what_is_not_toml_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"broken\.toml is not TOML: ") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_config(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path)
    assert str(caught.value) == f"cannot read config {tmp_path}: Is a directory"


@pytest.mark.parametrize("name", ["nowhere.toml", "servo_wide", ""])
def test_a_config_that_is_not_there_is_refused_with_the_built_in_ones(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_config(name)
    listed = ", ".join(built_in())
    assert str(caught.value) == f"there is no config {name}; give a TOML file, or a built-in one: {listed}"


def test_the_built_in_configs_cover_every_preset_and_algorithm_under_their_own_names() -> None:
    for name, path in built_in().items():
        config = load_config(path)
        assert config.name == name
        if isinstance(config.family, FamilyConfig):
            assert name == f"servo_{config.servos.preset}_{config.algorithm}"
        assert algorithm_of(config)
    wanted = {
        f"servo_{preset}_{algorithm}" for preset in PRESETS for algorithm in ("maml", "robust", "oracle")
    }
    assert wanted <= built_in().keys()
    for preset in PRESETS:
        assert (
            load_config(built_in()[f"servo_{preset}_maml"]).pid is not None
        )  # the bundle's classical baseline


def test_a_built_in_name_is_found_and_a_file_of_that_name_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config("servo_wide_maml") == built_in()["servo_wide_maml"]
    Path("servo_wide_maml").write_text(SMALL)
    assert find_config("servo_wide_maml") == Path("servo_wide_maml")


def test_ranges_replace_the_presets_one_by_one() -> None:
    ranges = family_ranges(FamilyConfig(preset="miswired", ranges={"delay": [0, 0.01], "spread": 2}), "here")
    assert ranges == replace(PRESETS["miswired"], delay=(0.0, 0.01), spread=2.0)


@pytest.mark.parametrize("name", built_in())
def test_a_resolved_config_reads_back_as_itself(name: str) -> None:
    config = load_config(built_in()[name])
    assert parse_config(tomllib.loads(to_toml(config)), "resolved") == config


def test_a_resolved_config_states_every_default() -> None:
    tree = tomllib.loads(to_toml(load_config(built_in()["servo_wide_maml"])))
    for section, found in (("maml", MamlConfig()), ("training", TrainingConfig()), ("pid", PidConfig())):
        assert tree[section].keys() == asdict(found).keys()


positive = st.floats(1e-9, 1e9)
counts = st.integers(1, 10**12)
intervals = st.tuples(st.floats(1e-6, 1.0), st.floats(1.0, 1e6)).map(list)


@settings(max_examples=150, deadline=None)
@given(
    name=st.from_regex(r"[A-Za-z][A-Za-z0-9_.\-]{0,20}", fullmatch=True),
    seed=st.integers(0, 2**70),
    preset=st.sampled_from(sorted(PRESETS)),
    ranges=st.fixed_dictionaries(
        {}, optional={"kt": intervals, "drive_gain": intervals, "spread": st.floats(1, 9)}
    ),
    training=st.builds(TrainingConfig, counts, counts, positive, st.floats(0, 1), positive, positive),
    robust=st.builds(ReactiveConfig, counts, counts, counts, st.floats(0, 1)),
    pid=st.none() | st.builds(PidConfig, counts, counts, counts, counts),
)
def test_any_config_reads_back_as_itself(
    name: str,
    seed: int,
    preset: str,
    ranges: dict[str, list[float]],
    training: TrainingConfig,
    robust: ReactiveConfig,
    pid: PidConfig | None,
) -> None:
    config = Config(name, seed, FamilyConfig("servo", preset, ranges), training, robust=robust, pid=pid)
    assert parse_config(tomllib.loads(to_toml(config)), "resolved") == config


@pytest.mark.parametrize("family", [BanditConfig(arms=3, episodes=7), TabularConfig(episodes=25)])
def test_a_config_of_a_discrete_family_reads_back_as_itself(family: BanditConfig | TabularConfig) -> None:
    config = Config("small", 1, family, TrainingConfig(), ppo=PpoConfig(hidden=5))
    assert parse_config(tomllib.loads(to_toml(config)), "resolved") == config


def test_on_servos_the_section_of_ppo_is_that_of_servos(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL.replace("[robust]", "[ppo]\nside_by_side = 2"))
    config = load_config(tmp_path / "small.toml")
    assert config == Config("small", 0, FamilyConfig(), TrainingConfig(), ppo=ServoPpoConfig(side_by_side=2))
    assert parse_config(tomllib.loads(to_toml(config)), "resolved") == config


def test_on_other_families_it_is_theirs(tmp_path: Path) -> None:
    bandit = SMALL.replace("[family]", '[family]\nname = "bandit"').replace(
        "[robust]", "[ppo]\nside_by_side = 2"
    )
    expected = f"[ppo] unknown key 'side_by_side'; valid keys: {keys(PpoConfig)}"
    assert refusal(bandit, tmp_path / "small.toml") == expected


def test_only_servos_have_servos() -> None:
    config = Config("small", 1, BanditConfig(), TrainingConfig(), ppo=PpoConfig())
    with pytest.raises(UsageError, match="small is trained on the family 'bandit', which no device has"):
        _ = config.servos
