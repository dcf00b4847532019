"""`xai-sweep explainers`: every yaml of the group, with the facts of its class."""

import math

import pytest

from xai_sweep.commands.explainers import FACTS, RANKS, explainers
from xai_sweep.config.building import build
from xai_sweep.config.keys import add_schema
from xai_sweep.config.points import composed
from xai_sweep.core.paths import CONF


def test_every_explainer_is_there_with_its_facts(capsys: pytest.CaptureFixture[str]) -> None:
    add_schema()
    explainers()
    lines = capsys.readouterr().out.splitlines()
    head = next([each.strip() for each in line.split("┃")[1:-1]] for line in lines if "┃" in line)
    assert head == ["explainer", *FACTS, "cost", "source"]
    found: list[list[str]] = []
    for line in [line for line in lines if "│" in line]:
        cells = [each.strip() for each in line.split("│")[1:-1]]
        if cells[0]:
            found.append(cells)
        else:  # a long source goes on in the next line
            found[-1][-1] += f" {cells[-1]}"
    expected = []
    for name in sorted(path.stem for path in (CONF / "explainer").glob("*.yaml")):
        explainer = build(composed([f"explainer={name}"]).explainer)
        facts = [
            explainer.is_deterministic,
            explainer.is_signed,
            explainer.is_class_sensitive,
            explainer.conserves,
            explainer.needs_fit,
            explainer.is_control,
        ]
        cost = explainer.cost_in_forwards(RANKS)
        said = "varies" if math.isnan(cost) else f"{cost:g}"
        expected.append([name, *["yes" if fact else "-" for fact in facts], said, explainer.source])
    assert found == expected
