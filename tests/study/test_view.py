"""What a metric may look at, put together by hand and by the study."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from networks import network

from xai_sweep.data import ImageFile
from xai_sweep.explainers import InputXGradient
from xai_sweep.models import Classifier
from xai_sweep.study.case import Case
from xai_sweep.study.probe import Probe
from xai_sweep.study.question import Change, Question
from xai_sweep.study.subject import Subject
from xai_sweep.study.view import View
from xai_sweep.transforms import GaussianNoise, Rotation, Transform

SUBJECT = Subject(Classifier(network("plain")), InputXGradient())
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def view(transform: Transform, magnitudes: Sequence[float], draw: int = 0) -> View:
    question = Question(ranks=2)
    probe = Probe(SUBJECT, [Change(transform, tuple(magnitudes), question)], {})
    names = [ImageFile(name, Path(name)) for name in "abc"]
    cases = probe.cases(list(zip(names, IMAGES, [None] * 3, strict=True)))
    return probe.views[0].make(transform, cases, torch.tensor(magnitudes).double(), draw)


def test_parts_are_the_views_of_the_cases_alone() -> None:
    whole = view(Rotation(), [5.0, 10.0, 20.0])
    for index, part in enumerate(whole.parts(1)):
        at = slice(index, index + 1)
        assert part.cases == whole.cases[at]
        assert torch.equal(part.moved, whole.moved[at])
        assert torch.equal(part.motion.move(part.reference), whole.moved[at])
        assert torch.equal(
            part.motion.move_back(part.moved), whole.motion.move_back(whole.moved)[at]
        )
        assert torch.equal(part.explained.heatmaps, whole.explained.heatmaps[at])
        assert torch.equal(part.counterpart.images, whole.counterpart.images[at])
        assert torch.equal(part.region, whole.region[at])


def test_a_single_case_gives_the_digits_of_a_batch() -> None:
    whole = view(GaussianNoise(), [1.0, 1.0, 1.0])
    (alone,) = whole.parts(3)
    _, one, _ = whole.parts(1)
    again = one.make(one.transform, one.cases, one.magnitudes, 0) if one.make else None
    assert again is not None
    assert torch.equal(again.explained.heatmaps, alone.explained.heatmaps[1:2])
    assert torch.equal(again.logits, alone.logits[1:2])


def test_another_counterpart_is_made_once() -> None:
    first = view(Rotation(), [30.0, 30.0, 30.0])
    edge = first.another(replace(Rotation(), fill="edge"))
    assert edge is first.another(replace(Rotation(), fill="edge"))
    assert not torch.equal(edge.counterpart.images, first.counterpart.images)
    assert torch.equal(edge.reference, first.reference)
    noise = view(GaussianNoise(), [1.0, 1.0, 1.0])
    second = noise.another(draw=1)
    assert not torch.equal(second.counterpart.images, noise.counterpart.images)
    drawn = view(GaussianNoise(), [1.0, 1.0, 1.0], draw=1)
    assert torch.equal(second.counterpart.images, drawn.counterpart.images)


def test_a_view_by_hand_says_that_it_knows_no_other() -> None:
    with pytest.raises(RuntimeError, match="put together by hand"):
        replace(view(Rotation(), [5.0] * 3), make=None).another(draw=1)


def test_seeds_of_a_case_differ_by_purpose_draw_and_root() -> None:
    item = ImageFile("a", Path("a"))
    empty = torch.empty(0, dtype=torch.float64)
    case = Case(item, IMAGES[0], empty, empty.long(), IMAGES[0, :0], root=3)
    seeds = [case.seed("transform"), case.seed("transform", 1), case.seed("explainer")]
    assert len({*seeds, replace(case, root=4).seed("transform")}) == 4
    assert case.seed("transform") == case.seed("transform", 0)


def test_what_parts_share_is_made_once_from_the_whole() -> None:
    made: list[View] = []

    def squared(one: View) -> torch.Tensor:
        made.append(one)
        return one.moved.square()

    whole = view(Rotation(), [5.0, 10.0, 20.0])
    found = [part.shared(squared) for part in whole.parts(2)]
    assert torch.equal(torch.cat(found), whole.moved.square())
    assert torch.equal(whole.part(slice(2, 3)).shared(squared), whole.moved[2:].square())
    assert made == [whole]


def test_another_counterpart_of_parts_is_made_for_all_together() -> None:
    whole = view(Rotation(), [30.0, 30.0, 30.0])
    edge = replace(Rotation(), fill="edge")
    parts = [part.another(edge) for part in whole.parts(1)]
    together = whole.another(edge)
    for index, part in enumerate(parts):
        assert torch.equal(part.explained.heatmaps, together.explained.heatmaps[[index]])
        assert part.cases == whole.cases[index : index + 1]
