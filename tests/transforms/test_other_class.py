"""Another class: which one, and where there is none."""

from dataclasses import replace

import pytest
import torch
from networks import CLASSES
from transform_checks import changed, heatmaps_of, small_cases, small_subject, targets_of

from xai_sweep.core.errors import InputError
from xai_sweep.transforms import OtherClass

SUBJECT = small_subject()


def test_classes_are_counted_from_the_class_of_the_row() -> None:
    """The slow way: sort the classes, find the row's own, count on."""
    cases = small_cases(SUBJECT, targets=2)
    ranks = [1, 4, 2]
    found = targets_of(cases, changed(SUBJECT, cases, OtherClass(), ranks))
    for case, rank, others in zip(cases, ranks, found.tolist(), strict=True):
        ordered = sorted(range(CLASSES), key=lambda one: -float(case.logits[one]))
        assert others == [ordered[ordered.index(own) + rank - 1] for own in case.targets.tolist()]


def test_it_is_the_heatmap_of_that_class() -> None:
    cases = small_cases(SUBJECT, targets=CLASSES)
    found = heatmaps_of(
        SUBJECT, single := small_cases(SUBJECT), changed(SUBJECT, single, OtherClass(), [3, 3, 3])
    )
    for case, heatmap in zip(cases, found, strict=True):
        torch.testing.assert_close(heatmap[0], case.reference[2])


def test_classes_that_tie_are_counted_once_each() -> None:
    case = replace(small_cases(SUBJECT)[0], logits=torch.zeros(CLASSES, dtype=torch.float64))
    first = int(SUBJECT.best(case.logits[None], 1))
    case = replace(case, targets=torch.tensor([first]))
    for target in range(CLASSES):
        tied = [replace(case, targets=torch.tensor([target]))]
        assert int(targets_of(tied, changed(SUBJECT, tied, OtherClass(), [1]))) == target
    every = {
        int(targets_of([case], changed(SUBJECT, [case], OtherClass(), [rank])))
        for rank in range(1, CLASSES + 1)
    }
    assert every == set(range(CLASSES))


@pytest.mark.parametrize(("targets", "most"), [(1, 5), (2, 4)])
def test_a_rank_beyond_the_classes_is_refused(targets: int, most: int) -> None:
    cases = small_cases(SUBJECT, targets=targets)
    changed(SUBJECT, cases, OtherClass(), [most] * 3)
    with pytest.raises(InputError) as caught:
        changed(SUBJECT, cases, OtherClass(), [1, most + 1, 1])
    assert str(caught.value) == (
        f"transform.rank={most + 1}: must be at most {most}: the network has 5 classes, and one "
        f"of the explained classes is number {targets} of them by probability"
    )
