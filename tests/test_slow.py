"""Which tests are slow: by a report, and none that there is not."""

from __future__ import annotations

from pathlib import Path

from tests.slow import measured, slow_tests

ROOT = Path(__file__).parents[1]
REPORT = """<testsuites><testsuite>
<testcase classname="tests.runtime.test_a" name="test_quick" time="0.1"/>
<testcase classname="tests.runtime.test_a" name="test_often[1-x]" time="0.3"/>
<testcase classname="tests.runtime.test_a" name="test_often[2]" time="0.4"/>
<testcase classname="tests.runtime.test_b.TestEngine" name="test_long" time="2.0"/>
</testsuite></testsuites>"""


def test_what_takes_long_with_all_its_parameters_is_slow(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    assert measured(report) == {
        "tests/runtime/test_a.py::test_often": 0.4,
        "tests/runtime/test_b.py::TestEngine::test_long": 2.0,
    }


def test_every_slow_test_is_there() -> None:
    for name in slow_tests():
        file, *_, test = name.split("::")
        inherited = "::Test" in name  # from the conformance suite of engines
        assert inherited or f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), name
