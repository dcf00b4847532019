"""Makes views: changes cases, predicts and explains them, finds the region of comparison."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.study.case import Case, seeds
from xai_sweep.study.question import Question
from xai_sweep.study.subject import Subject
from xai_sweep.study.view import View
from xai_sweep.transforms.base import Apply, Transform
from xai_sweep.transforms.region import valid_region


class Views:
    """Makes the views of one curve, and whatever other counterparts its metrics ask for.

    Args:
        subject: what made the cases.
        question: what is asked.
    """

    def __init__(self, subject: Subject, question: Question) -> None:
        self.subject = subject
        self.question = question
        self._bound: dict[Transform, Apply] = {}
        self._regions: dict[tuple[Transform, float, int, int], Bool[Tensor, "h w"]] = {}

    def make(
        self,
        transform: Transform,
        cases: Sequence[Case],
        magnitudes: Float64[Tensor, " b"],
        draw: int = 0,
    ) -> View:
        """Cases beside what a transform makes of them.

        Args:
            transform: the change.
            cases: the clean images.
            magnitudes: by how much each is changed, on the images' device.
            draw: which random instance, from 0.

        Raises:
            InputError: the transform cannot be done with this subject, or chooses targets where
                the question does so too.
        """
        if transform not in self._bound:
            self._bound[transform] = transform.bind(self.subject)
        counterpart = self._bound[transform](cases, magnitudes, draw)
        subject = counterpart.subject or self.subject
        logits = subject.logits(counterpart.images, seeds(cases, "network"))
        targets = torch.stack([case.targets for case in cases])
        if counterpart.targets is not None:
            if self.question.target != "class":
                allowed = "must be class: the transform decides which class is explained"
                raise InputError("target", self.question.target, allowed)
            targets = counterpart.targets
        elif self.question.target == "rank":
            targets = subject.best(logits, self.question.ranks)
        carried = [case.carried for case in cases if case.carried is not None]
        explained = subject.explain(
            counterpart.images,
            targets,
            seeds(cases, "explainer"),
            counterpart.motion.move_labels(torch.stack(carried)) if carried else None,
        )
        size = (counterpart.images.shape[-2], counterpart.images.shape[-1])
        return View(
            tuple(cases),
            transform,
            magnitudes,
            draw,
            counterpart,
            subject,
            logits,
            targets,
            explained,
            self._region(transform, magnitudes, size),
            self.make,
        )

    def _region(
        self, transform: Transform, magnitudes: Float64[Tensor, " b"], size: tuple[int, int]
    ) -> Bool[Tensor, "b h w"]:
        """Each pair's valid region; the same for all images, so it is made once a magnitude."""
        found = []
        for magnitude in magnitudes.tolist():
            key = (transform, magnitude, *size)
            if key not in self._regions:
                together = magnitudes.new_tensor([magnitude, *self.question.region_of])
                motion = transform.motion(together, size)
                ones = torch.ones(len(together), 1, *size, device=magnitudes.device)
                self._regions[key] = valid_region(motion, ones, self.question.region).all(dim=0)
            found.append(self._regions[key])
        return torch.stack(found)
