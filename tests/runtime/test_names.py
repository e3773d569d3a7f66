import pytest
from acclimate.names import closest, did_you_mean
from hypothesis import given
from hypothesis import strategies as st

SERVOS = ["XL-320", "XL-330", "MX-64", "STS3215"]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("XL330", "XL-330"),
        ("mx64", "MX-64"),
        ("xl 320", "XL-320"),
        ("sts_3215", "STS3215"),
        ("AX-12", None),
        ("", None),
    ],
)
def test_case_and_hyphens_do_not_matter(said: str, meant: str | None) -> None:
    assert closest(said, SERVOS) == meant


@given(st.sampled_from(SERVOS), st.data())
def test_a_name_with_one_letter_wrong_is_found(name: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(name) - 1))
    assert closest(name[:at] + name[at + 1 :], SERVOS) is not None


def test_the_sentence_lists_what_there_is() -> None:
    assert did_you_mean("trian", ["train", "run"]) == "; did you mean 'train'? valid names: train, run"
    assert did_you_mean("xyz", ["train"], of="verbs here") == "; verbs here: train"
    assert did_you_mean("xyz", []) == "; valid names: none"
