"""The explanation of another class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.study.case import Case, images
from xai_sweep.study.subject import Subject
from xai_sweep.transforms.base import Apply, Counterpart, Parameter, Transform


@dataclass(frozen=True)
class OtherClass(Transform):
    """The clean image, explained for a class that the network finds less likely.

    The classes of the clean image are counted from a row's own: rank 1 is that class itself, rank
    2 the next best after it, and so on. A heatmap that says why *this* class was predicted must
    change. The paper draws the other class at random; here it is the magnitude, so that close
    rivals and unlikely classes can be compared.

    Source: Sixt et al. 2020, "When explanations lie", arXiv:1912.09818, the random logit test.
    """

    parameter: ClassVar[Parameter] = Parameter(
        "rank", "class, counted from the row's own", neutral=1, minimum=1, is_whole=True
    )

    @override
    def bind(self, subject: Subject) -> Apply:
        def apply(
            cases: Sequence[Case], magnitudes: Float64[Tensor, " b"], draw: int
        ) -> Counterpart:
            others = [
                _counted(subject, case, int(rank))
                for case, rank in zip(cases, magnitudes.tolist(), strict=True)
            ]
            return Counterpart(images(cases), targets=torch.stack(others))

        return apply


def _counted(subject: Subject, case: Case, rank: int) -> Int64[Tensor, " k"]:
    """The classes at this rank, counted from each target.

    Raises:
        InputError: the network has no such class.
    """
    ordered = subject.best(case.logits[None], len(case.logits))[0]
    own = (ordered == case.targets[:, None]).long().argmax(dim=1)
    most = len(ordered) - int(own.max())
    if rank > most:
        allowed = (
            f"must be at most {most}: the network has {len(ordered)} classes, and one of the "
            f"explained classes is number {int(own.max()) + 1} of them by probability"
        )
        raise InputError("transform.rank", rank, allowed)
    return ordered[own + rank - 1]
