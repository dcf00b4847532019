"""Views put together by hand, so that metrics can be tested without a study."""

from collections.abc import Sequence
from pathlib import Path

import torch
from networks import CLASSES, network
from torch import Tensor

from xai_sweep.data import ImageFile
from xai_sweep.explainers import InputXGradient
from xai_sweep.explainers.base import Explained
from xai_sweep.metrics import Pairs
from xai_sweep.models import Classifier
from xai_sweep.study.case import Annotation, Case
from xai_sweep.study.subject import Subject
from xai_sweep.study.view import View
from xai_sweep.transforms import Identity, Transform
from xai_sweep.transforms.base import Counterpart
from xai_sweep.transforms.region import valid_region

SUBJECT = Subject(Classifier(network("plain")), InputXGradient())


def view_of(
    new: Tensor,
    reference: Tensor | None = None,
    *,
    region: Tensor | None = None,
    images: Tensor | None = None,
    second: Tensor | None = None,
    masks: Sequence[Tensor | None] | None = None,
    transform: Transform | None = None,
    magnitudes: Sequence[float] | None = None,
    subject: Subject = SUBJECT,
    names: Sequence[str] | None = None,
) -> View:
    """Heatmaps ``[B, K, H, W]`` of counterparts and, by default the same, of clean images.

    Case number i is called by its number unless names are given; its targets are the first classes.
    """
    count, ranks, height, width = new.shape
    device = new.device
    reference = new if reference is None else reference
    transform = Identity() if transform is None else transform
    at = torch.tensor(magnitudes or [0.0] * count, dtype=torch.float64, device=device)
    if images is None:
        draw = torch.Generator().manual_seed(count)
        images = (
            torch.randn(1, 3, height, width, generator=draw).to(device).expand(count, -1, -1, -1)
        )
    motion = transform.motion(at, (height, width))
    if region is None:
        region = valid_region(motion, torch.ones_like(new[:, :1]), "mask")
    targets = torch.arange(ranks, device=device)
    logits = torch.zeros(CLASSES, dtype=torch.float64, device=device)
    cases = [
        Case(
            ImageFile(name := names[index] if names else str(index), Path(name)),
            images[index],
            logits,
            targets,
            reference[index],
            second=None if second is None else second[index],
            annotation=annotation(masks[index]) if masks else None,
        )
        for index in range(count)
    ]
    return View(
        tuple(cases),
        transform,
        at,
        0,
        Counterpart(images, motion),
        subject,
        logits.expand(count, -1),
        targets.expand(count, -1),
        Explained(new),
        region,
    )


def annotation(mask: Tensor | None) -> Annotation | None:
    """An object that is the mask, without boxes."""
    if mask is None:
        return None
    return Annotation(mask, torch.zeros(0, 4, dtype=torch.float64, device=mask.device))


def view_of_pairs(pairs: Pairs) -> View:
    """Pairs ``[P, H, W]`` as a view of P cases with one class each."""
    return view_of(pairs.new[:, None], pairs.reference[:, None], region=pairs.region)
