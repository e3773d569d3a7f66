import pytest
from acclimate.command.results import attempt, hand_over
from acclimate.errors import AcclimateError, OutputError, UsageError
from hypothesis import given
from hypothesis import strategies as st


@given(fails=st.lists(st.booleans(), max_size=6))
def test_every_result_is_tried_whichever_fail(fails: list[bool]) -> None:
    tried: list[int] = []

    def step(number: int, fail: bool) -> None:
        tried.append(number)
        if fail:
            raise OutputError(str(number))

    steps = [lambda i=i, fail=fail: step(i, fail) for i, fail in enumerate(fails)]
    failed = [str(i) for i, fail in enumerate(fails) if fail]
    assert [str(error) for error in attempt(*steps)] == failed
    if failed:
        with pytest.raises(AcclimateError, match=f"^{failed[0]}$"):
            hand_over(*steps)
    else:
        hand_over(*steps)
    assert tried == 2 * list(range(len(fails)))


def test_the_errors_after_the_first_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(error: AcclimateError) -> None:
        raise error

    with pytest.raises(UsageError, match="one"):
        hand_over(lambda: fail(UsageError("one")), lambda: fail(OutputError("two")))
    assert capsys.readouterr().err == "acclimate: two\n"
