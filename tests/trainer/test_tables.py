"""Tables into dataclasses: every type that a field may have, and one sentence for what does not fit it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from acclimate.errors import UsageError
from acclimate_trainer.settings.limits import BELOW_ONE, COUNT, NOT_NEGATIVE, POSITIVE, SHARE, require
from acclimate_trainer.settings.tables import ConfigError, read_table, table_of
from hypothesis import given
from hypothesis import strategies as st


@dataclass(frozen=True)
class Inner:
    size: int = 1


@dataclass(frozen=True)
class Outer:
    number: float = 0.5
    count: int = 3
    flag: bool = False
    text: str = "x"
    bend: Literal["tanh", "relu", 3] = "tanh"
    ends: tuple[float, float] = (0.0, 1.0)
    mixed: tuple[int, str, bool] = (1, "a", True)
    counts: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    rows: tuple[tuple[float, float], ...] = ()
    masses: list[float] = field(default_factory=list)
    weights: Mapping[str, float] = field(default_factory=dict)
    anything: Mapping[str, object] = field(default_factory=dict)
    objectives: tuple[Mapping[str, float], ...] = ()
    inner: Inner = Inner()
    several: tuple[Inner, ...] = ()
    maybe: int | None = None
    section: Inner | None = None
    made: int = field(init=False, default=7)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"number": 2}, 2.0),
        ({"number": 0.25}, 0.25),
        ({"count": 4}, 4),
        ({"flag": True}, True),
        ({"text": 'line\n"quoted"'}, 'line\n"quoted"'),
        ({"bend": "relu"}, "relu"),
        ({"bend": 3}, 3),
        ({"ends": [1, 2.5]}, (1.0, 2.5)),
        ({"mixed": [2, "b", False]}, (2, "b", False)),
        ({"counts": []}, ()),
        ({"counts": [1, 2, 3]}, (1, 2, 3)),
        ({"names": ["a", "b"]}, ("a", "b")),
        ({"rows": [[1, 2], [3, 4]]}, ((1.0, 2.0), (3.0, 4.0))),
        ({"masses": [1, 2.5]}, [1.0, 2.5]),
        ({"weights": {"quiet": 2}}, {"quiet": 2.0}),
        ({"anything": {"deep": {"er": [1, "x"]}}}, {"deep": {"er": [1, "x"]}}),
        ({"objectives": [{"quiet": 2}, {}]}, ({"quiet": 2.0}, {})),
        ({"inner": {"size": 9}}, Inner(9)),
        ({"several": [{"size": 9}, {}]}, (Inner(9), Inner())),
        ({"maybe": 5}, 5),
        ({"section": {}}, Inner()),
    ],
)
def test_what_fits_is_taken(table: dict[str, Any], expected: object) -> None:
    (name,) = table
    found = getattr(read_table(Outer, table, "here"), name)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"number": "1"}, "number must be a finite number, found '1'"),
        ({"number": True}, "number must be a finite number, found True"),
        ({"number": float("nan")}, "number must be a finite number, found nan"),
        ({"number": float("-inf")}, "number must be a finite number, found -inf"),
        ({"count": 1.0}, "count must be an integer, found 1.0"),
        ({"count": True}, "count must be an integer, found True"),
        ({"flag": 1}, "flag must be true or false, found 1"),
        ({"text": 1}, "text must be a string, found 1"),
        ({"bend": "sine"}, "bend is 'sine'; valid: tanh, relu, 3"),
        ({"bend": 3.0}, "bend is 3.0; valid: tanh, relu, 3"),
        ({"ends": [1.0]}, "ends must be two numbers, found [1.0]"),
        ({"ends": 1.0}, "ends must be two numbers, found 1.0"),
        ({"ends": "ab"}, "ends must be two numbers, found 'ab'"),
        ({"ends": [0.0, "b"]}, "ends[1] must be a finite number, found 'b'"),
        ({"mixed": [1, 2, True]}, "mixed[1] must be a string, found 2"),
        ({"counts": 3}, "counts must be a list of integers, found 3"),
        ({"counts": [1, 2.0]}, "counts[1] must be an integer, found 2.0"),
        ({"names": "ab"}, "names must be a list of strings, found 'ab'"),
        ({"names": [1]}, "names[0] must be a string, found 1"),
        ({"rows": [[1, 2], [3]]}, "rows[1] must be two numbers, found [3]"),
        ({"masses": {"a": 1.0}}, "masses must be a list of numbers, found {'a': 1.0}"),
        ({"masses": [None]}, "masses[0] must be a finite number, found None"),
        ({"weights": [1.0]}, "weights must be a section, found [1.0]"),
        ({"weights": {"quiet": "loud"}}, "weights.quiet must be a finite number, found 'loud'"),
        ({"objectives": {"quiet": 1.0}}, "objectives must be a list of tables, found {'quiet': 1.0}"),
        ({"objectives": [{"quiet": "x"}]}, "objectives[0].quiet must be a finite number, found 'x'"),
        ({"inner": 3}, "[inner] must be a section, found 3"),
        ({"inner": {"width": 3}}, "[inner] unknown key 'width'; valid keys: size"),
        ({"inner": {"size": "x"}}, "inner.size must be an integer, found 'x'"),
        ({"several": [{"size": 1}, {"size": "x"}]}, "several[1].size must be an integer, found 'x'"),
        ({"maybe": "x"}, "maybe must be an integer, found 'x'"),
        ({"made": 8}, "unknown key 'made'; valid keys: number, count, flag, text, bend, ends, mixed, counts, names, "
         "rows, masses, weights, anything, objectives, inner, several, maybe, section"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_place(table: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_table(Outer, table, "here")
    assert str(caught.value) == f"here: {sentence}"


def test_numbers_beyond_what_a_float_can_hold_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^here: number must be a finite number, found 1000"):
        read_table(Outer, {"number": 10**400}, "here")


@dataclass(frozen=True)
class Strange:
    when: bytes = b""


@dataclass(frozen=True)
class Vague:
    things: list = field(default_factory=list)  # type: ignore[type-arg]


@pytest.mark.parametrize(("cls", "key"), [(Strange, "when"), (Vague, "things")])
def test_a_type_that_no_config_can_hold_is_said_to_be_one(cls: type, key: str) -> None:
    with pytest.raises(
        ConfigError, match=f"^here: options.{key} is declared as .*, which no config can hold$"
    ):
        read_table(cls, {key: [1]}, "here", "options")


@dataclass(frozen=True)
class Demanding:
    least: int

    def __post_init__(self) -> None:
        require(self, {"least": COUNT})


def test_what_is_missing_or_refused_by_the_class_itself_is_told_with_the_section() -> None:
    with pytest.raises(ConfigError, match=r"^here: \[a\.b\] lacks 'least'$"):
        read_table(Demanding, {}, "here", "a.b")
    with pytest.raises(ConfigError, match=r"^here: \[a\.b\] least must be at least 1, found 0$"):
        read_table(Demanding, {"least": 0}, "here", "a.b")
    with pytest.raises(ConfigError, match=r"^here: must be a section, found 3$"):
        read_table(Demanding, 3, "here")


OUTERS = st.builds(
    Outer,
    number=st.floats(allow_nan=False, allow_infinity=False),
    count=st.integers(),
    flag=st.booleans(),
    text=st.text(),
    bend=st.sampled_from(["tanh", "relu", 3]),
    ends=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
    rows=st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1))).map(tuple),
    masses=st.lists(st.floats(0, 1)),
    weights=st.dictionaries(st.text(), st.floats(0, 1)),
    several=st.lists(st.builds(Inner, st.integers())).map(tuple),
    maybe=st.none() | st.integers(),
    section=st.none() | st.builds(Inner, st.integers()),
)


@given(OUTERS)
def test_a_dataclass_comes_back_from_its_table(made: Outer) -> None:
    assert read_table(Outer, table_of(made), "here") == made


@pytest.mark.parametrize(
    ("rule", "good", "bad", "words"),
    [
        (COUNT, (1, 9), (0, -1), "at least 1"),
        (POSITIVE, (1e-9, 3), (0, -1), "above 0"),
        (NOT_NEGATIVE, (0, 3), (-1e-9,), "at least 0"),
        (SHARE, (0, 0.5, 1), (-0.1, 1.1, float("nan")), "from 0 to 1"),
        (BELOW_ONE, (0, 0.5), (1, 1.1), "from 0 to below 1"),
    ],
)
def test_limits_hold_and_are_told(
    rule: Any, good: tuple[float, ...], bad: tuple[float, ...], words: str
) -> None:
    for value in good:
        require(Inner(value), {"size": rule})  # type: ignore[arg-type]
    for value in bad:
        with pytest.raises(UsageError) as caught:
            require(Inner(value), {"size": rule})  # type: ignore[arg-type]
        assert str(caught.value) == f"size must be {words}, found {value!r}"
