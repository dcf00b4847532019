"""`xai-sweep explainers`: every yaml of the group, with the facts of its class."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from xai_sweep.config.building import build
from xai_sweep.config.keys import add_schema
from xai_sweep.config.points import composed
from xai_sweep.core.paths import CONF

HEADINGS = ["deterministic", "signed", "class-sensitive", "conserves", "needs fit", "control"]
FACTS = [
    *("is_deterministic", "is_signed", "is_class_sensitive", "conserves", "needs_fit"),
    "is_control",
]


@pytest.fixture(scope="module")
def expected() -> list[dict[str, Any]]:
    add_schema()
    found = []
    for name in sorted(path.stem for path in (CONF / "explainer").glob("*.yaml")):
        explainer = build(composed([f"explainer={name}"]).explainer)
        facts = {fact: getattr(explainer, fact) for fact in FACTS}
        cost = explainer.cost_in_forwards(4)
        found.append(
            {
                "explainer": name,
                **facts,
                "cost_in_forwards": None if math.isnan(cost) else cost,
                "columns": [column.name for column in explainer.facts],
                "source": explainer.source,
            }
        )
    return found


def test_a_table_of_all(expected: list[dict[str, Any]], say: Callable[..., Any]) -> None:
    answer = say("explainers")
    assert answer.code == 0
    head = next(line for line in answer.out.splitlines() if "┃" in line)
    names = [each.strip() for each in head.split("┃")[1:-1]]
    assert names == ["explainer", *HEADINGS, "cost", "source"]
    found: list[list[str]] = []
    for cells in answer.cells:
        if cells[0]:
            found.append(cells)
        else:  # a long source goes on in the next line
            found[-1][-1] += f" {cells[-1]}"
    assert found == [
        [
            each["explainer"],
            *["yes" if each[fact] else "-" for fact in FACTS],
            "varies" if each["cost_in_forwards"] is None else f"{each['cost_in_forwards']:g}",
            each["source"],
        ]
        for each in expected
    ]


def test_the_same_as_json(expected: list[dict[str, Any]], say: Callable[..., Any]) -> None:
    answer = say("explainers", "--json")
    assert answer.code == 0
    assert answer.json == {"targets": 4, "explainers": expected}
    # At least one varies: a number that is not finite would not be JSON.
    assert None in [each["cost_in_forwards"] for each in expected]
    assert any(each["columns"] for each in expected)


def test_words_of_a_run_are_read(say: Callable[..., Any], complaint: Callable[..., str]) -> None:
    assert say("explainers", "--json", "seed=3").code == 0
    assert complaint("explainers", "sed=3").startswith("sed=3: unknown key; did you mean seed?")
    assert complaint("explainers", "--jsn").startswith("--jsn=: unknown key; did you mean --json?")
