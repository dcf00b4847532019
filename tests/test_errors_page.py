"""Every error text says what to do, and stands in the reference, which the code itself writes."""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
# What is allowed, what there is, or what to do.
ADVICE = re.compile(
    r"\bmust\b|\bneeds?\b|needed|\bgiven?\b|\bchoose\b|\bnames? (a|the|another|some)\b|\bput\b"
    r"|\buse\b|\blog in\b|\bask\b|\bdelete\b|\brun\b|\bwrite\b|\bselect\b|\braise\b|\btake\b"
    r"|\binstall\b|\bchange what\b|\bleave it out\b|\bsee above\b|explains? it|goes on|covers all"
    r"|same command|xai-sweep retry|allowed:|takes only|load them|the rows say|its log is"
    r"|null fits|with explainer|switch that off"
    r"|one of|a (results )?folder|the folder of|a complete file|a file\b|its layers are|\w=\w+ can"
    r"|there are <|(has|have) <\w+>$|is for"
)


@pytest.fixture(scope="module")
def made() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / "make_errors.py")))


def test_the_reference_is_current(made: SimpleNamespace) -> None:
    assert (ROOT / "docs" / "errors.md").read_text() == made.page(), "run: make docs-errors"


def test_every_text_says_what_to_do(made: SimpleNamespace) -> None:
    texts = made.texts()
    assert len(texts) > 200
    assert [str(each) for each in texts if not ADVICE.search(each.text)] == []


def test_texts_are_put_together_as_python_does(made: SimpleNamespace) -> None:
    file = made.ROOT / "xai_sweep" / "core" / "errors.py"
    code = made.Code(file, made.Known())
    (first, second) = sorted(code.texts(), key=lambda each: each.text)
    assert first.key == second.key == "<key>=<value>"
    assert first.text == "unknown key; allowed: <names>"
    assert second.text == "unknown key; did you mean <close>? allowed: <names>"
    assert first.file == "xai_sweep/core/errors.py"
