"""The pictures of docs/: as new as what they were drawn from, and what the code says where they speak of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from acclimate.errors import UsageError

from docs.draw import ink
from docs.draw.house import PACKAGES, House, Room, read_house
from docs.draw.life import LANES
from docs.draw.pictures import FOLDER, PICTURES, path_of, redraw

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_as_new_as_what_it_was_drawn_from(name: str) -> None:
    try:
        source = PICTURES[name].source
    except UsageError as error:
        pytest.skip(str(error))
    assert ink.source_of(path_of(name)) == source, "draw it anew: make pictures"


def test_every_picture_that_a_page_shows_is_drawn_by_the_one_command() -> None:
    pages = [ROOT / "README.md", *FOLDER.glob("*.md")]
    shown = {
        Path(link).stem
        for page in pages
        for link in re.findall(r"!\[[^]]*\]\(([^)]+\.png)\)", page.read_text())
    }
    assert shown == {*PICTURES}
    assert {path.stem for path in FOLDER.glob("*.png")} == {*PICTURES}


def test_the_same_picture_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        ink.save(PICTURES["life"].draw(), tmp_path / name, "source")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert ink.source_of(tmp_path / "one") == "source"


def test_a_picture_that_is_none_is_refused_with_all_that_are() -> None:
    with pytest.raises(UsageError, match="there is no picture 'lief'; valid names: demo, faults, life"):
        redraw(["lief"])


def test_rooms_that_the_life_of_a_policy_leads_through_are_there() -> None:
    rooms = {str(room) for room in read_house().rooms}
    assert {stop.module for lane in LANES for stop in lane.stops} <= rooms


@pytest.mark.parametrize("package", PACKAGES)
def test_no_rooms_import_in_a_circle(package: str) -> None:
    read_house().inside(package).levels()


A, B, C = (Room("acclimate", name) for name in "abc")


def test_levels_count_what_a_room_stands_on_and_direct_imports_leave_out_what_follows() -> None:
    house = House((A, B, C), {(A, B): 1, (B, C): 2, (A, C): 1})
    assert house.levels() == {A: 2, B: 1, C: 0}
    assert house.direct() == [(A, B), (B, C)]


def test_a_circle_is_named() -> None:
    with pytest.raises(ValueError, match=r"circle: acclimate\.a, acclimate\.b"):
        House((A, B, C), {(A, B): 1, (B, A): 1, (B, C): 1}).levels()
