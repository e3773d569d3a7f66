from collections.abc import Callable
from pathlib import Path

import pytest
from acclimate.errors import UsageError
from acclimate.text_files import read_json, read_text, read_toml

MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize("mark", [b"", MARK])
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(mark + 'name = "Ünï"'.encode())
    assert read_text(path) == 'name = "Ünï"'
    assert read_toml(path) == {"name": "Ünï"}
    path.write_bytes(mark + '{"name": ["Ünï"]}'.encode())
    assert read_json(path) == {"name": ["Ünï"]}


@pytest.mark.parametrize(
    ("content", "read", "said"),
    [
        (b"\xff\xfe", read_toml, "servo file {} is not UTF-8 text (byte 0 is not)"),
        (b"a = ", read_toml, "servo file {} is not valid TOML: "),
        (b"{", read_json, "servo file {} is not valid JSON: "),
        (None, read_json, "cannot read servo file {}: No such file"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(
    tmp_path: Path, content: bytes | None, read: Callable[[Path, str], object], said: str
) -> None:
    path = tmp_path / "servo"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as raised:
        read(path, "servo file")
    assert str(raised.value).startswith(said.format(path))
    assert "\n" not in str(raised.value)
