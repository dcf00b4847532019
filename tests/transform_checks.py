"""What every transform must do, ours or a plugin's: one function each, which takes one `Declared`.

`tests/transforms/test_contract.py` runs them over our yaml folder; a plugin's tests can call
`declared` with their own.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hydra.utils import get_class
from networks import network
from omegaconf import OmegaConf
from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.data.base import ImageFile
from xai_sweep.explainers import InputXGradient
from xai_sweep.models.classifier import Classifier
from xai_sweep.study.case import Case, seeds
from xai_sweep.study.subject import Subject
from xai_sweep.transforms import Counterpart, Geometric, Photometric, Transform
from xai_sweep.transforms.region import there_and_back_region

CONF = Path(__file__).parents[1] / "conf"
SIZE = (20, 24)


@dataclass(frozen=True)
class Declared:
    """A transform as its yaml declares it, with the magnitudes that the yaml lists."""

    transform: Transform
    magnitudes: tuple[float, ...]

    @property
    def extremes(self) -> tuple[float, float]:
        return self.magnitudes[0], self.magnitudes[-1]

    @property
    def changes(self) -> bool:
        """Whether some magnitude changes something; identity has none."""
        return self.magnitudes != (self.transform.parameter.neutral,)


def declared(yaml: Path, magnitudes: Path = CONF / "magnitude" / "small.yaml") -> Declared:
    """Build what a yaml describes; it may refer to the magnitudes of another."""
    config = OmegaConf.merge({"magnitude": OmegaConf.load(magnitudes)}, OmegaConf.load(yaml))
    node = OmegaConf.to_container(config, resolve=True)
    assert isinstance(node, dict)
    del node["magnitude"]
    kind = get_class(node.pop("_target_"))
    given = node.pop(kind.parameter.name, kind.parameter.neutral)
    return Declared(kind(**node), kind.parameter.values(given))


def small_subject(dtype: torch.dtype = torch.float32, device: str = "cpu") -> Subject:
    module = network("in_place").to(device, dtype)
    return Subject(Classifier(module, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), size=20), InputXGradient())


def small_cases(subject: Subject, count: int = 3, root: int = 0, targets: int = 1) -> list[Case]:
    """Photographs of noise, all pixels within [0, 1], as the subject sees them."""
    like = next(subject.classifier.module.parameters())
    pixels = torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(5))
    images = subject.classifier.normalisation.to_normalised(pixels).to(like)
    logits = subject.logits(images)
    best = subject.best(logits, targets)
    heatmaps = subject.explain(images, best).heatmaps
    return [
        Case(ImageFile(f"{n}.png", Path(f"{n}.png")), *parts, root)
        for n, parts in enumerate(zip(images, logits, best, heatmaps, strict=True))
    ]


def cases_of(images: Tensor, root: int = 0) -> list[Case]:
    """Images as cases without predictions, for transforms that look at the image only."""
    empty = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    return [
        Case(ImageFile(f"{n}.png", Path(f"{n}.png")), image, *empty, image[:1], root)
        for n, image in enumerate(images)
    ]


def changed(
    subject: Subject,
    cases: Sequence[Case],
    transform: Transform,
    magnitudes: Sequence[float],
    draw: int = 0,
) -> Counterpart:
    return transform.bind(subject)(cases, amounts(magnitudes).to(cases[0].image.device), draw)


def amounts(magnitudes: Sequence[float]) -> Tensor:
    return torch.tensor(magnitudes, dtype=torch.float64)


def targets_of(cases: Sequence[Case], counterpart: Counterpart) -> Tensor:
    own = torch.stack([case.targets for case in cases])
    return own if counterpart.targets is None else counterpart.targets


def heatmaps_of(subject: Subject, cases: Sequence[Case], counterpart: Counterpart) -> Tensor:
    explaining = counterpart.subject or subject
    images, targets = counterpart.images, targets_of(cases, counterpart)
    return explaining.explain(images, targets, seeds(cases, "explainer")).heatmaps


def weights_of(subject: Subject, counterpart: Counterpart) -> list[Tensor]:
    module = (counterpart.subject or subject).classifier.module
    return list(module.state_dict().values())


def assert_same_bits(found: Tensor, expected: Tensor) -> None:
    """Stricter than `torch.equal`, to which 0 and -0 are one."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert (
        found.cpu().contiguous().numpy().tobytes() == expected.cpu().contiguous().numpy().tobytes()
    )


def assert_same(
    subject: Subject, cases: Sequence[Case], found: Counterpart, expected: Counterpart
) -> None:
    assert_same_bits(found.images, expected.images)
    assert_same_bits(targets_of(cases, found), targets_of(cases, expected))
    maps = torch.stack([case.reference for case in cases])
    assert_same_bits(found.motion.move(maps), expected.motion.move(maps))
    for one, other in zip(weights_of(subject, found), weights_of(subject, expected), strict=True):
        assert_same_bits(one, other)


def differs(subject: Subject, cases: Sequence[Case], one: Counterpart, other: Counterpart) -> bool:
    """Whether two counterparts of the same cases differ in anything."""
    try:
        assert_same(subject, cases, one, other)
    except AssertionError:
        return True
    return False


def changes_nothing_at_its_neutral_value(it: Declared) -> None:
    neutral = it.transform.parameter.neutral
    if neutral is None:
        pytest.skip("every value changes something")
    subject = small_subject()
    cases = small_cases(subject)
    found = changed(subject, cases, it.transform, [neutral] * 3)
    clean = Counterpart(torch.stack([case.image for case in cases]))
    assert_same(subject, cases, found, clean)
    reference = torch.stack([case.reference for case in cases])
    assert_same_bits(heatmaps_of(subject, cases, found), reference)
    assert_same_bits(found.motion.move_back(reference), reference)
    labels = torch.arange(3 * SIZE[0] * SIZE[1]).view(3, *SIZE)
    assert torch.equal(found.motion.move_labels(labels), labels)


def changes_something_elsewhere(it: Declared) -> None:
    if not it.changes:
        pytest.skip("it has no other magnitude")
    subject = small_subject()
    cases = small_cases(subject)
    clean = Counterpart(torch.stack([case.image for case in cases]))
    for magnitude in it.magnitudes:
        found = changed(subject, cases, it.transform, [magnitude] * 3)
        assert differs(subject, cases, found, clean)


def a_batch_is_its_images_one_by_one(it: Declared) -> None:
    """Each by its own magnitude, unless all must be explained by one network."""
    subject = small_subject()
    cases = small_cases(subject)
    first, last = it.extremes
    magnitudes = [first, last, first] if it.transform.shares_subject else [last] * 3
    together = changed(subject, cases, it.transform, magnitudes)
    maps = torch.stack([case.reference for case in cases])
    targets = targets_of(cases, together)
    for index, case in enumerate(cases):
        at = slice(index, index + 1)
        alone = changed(subject, [case], it.transform, magnitudes[at])
        part = Counterpart(
            together.images[at], together.motion.part(at), together.subject, targets[at]
        )
        assert_same(subject, [case], alone, part)
        assert_same_bits(alone.motion.move_back(maps[at]), together.motion.move_back(maps)[at])
        assert_same_bits(part.motion.move_back(maps[at]), together.motion.move_back(maps)[at])


def leaves_nothing_behind(it: Declared) -> None:
    subject = small_subject()
    cases = small_cases(subject)
    images = copy.deepcopy([case.image for case in cases])
    state = copy.deepcopy(subject.classifier.module.state_dict())
    stream = torch.get_rng_state()
    found = changed(subject, cases, it.transform, [it.extremes[1]] * 3)
    heatmaps_of(subject, cases, found)
    assert torch.equal(torch.get_rng_state(), stream)
    for case, image in zip(cases, images, strict=True):
        assert_same_bits(case.image, image)
    for name, tensor in subject.classifier.module.state_dict().items():
        assert_same_bits(tensor, state[name])
    assert all(tensor.grad is None for tensor in subject.classifier.module.parameters())


def the_same_seed_gives_the_same_change(it: Declared) -> None:
    """Also from a second binding, and after another counterpart was made."""
    subject = small_subject()
    cases = small_cases(subject)
    apply, last = it.transform.bind(subject), amounts([it.extremes[1]] * 3)
    first = apply(cases, last, 1)
    apply(cases, amounts([it.extremes[0]] * 3), 1)
    assert_same(subject, cases, apply(cases, last, 1), first)
    assert_same(subject, cases, it.transform.bind(subject)(cases, last, 1), first)


def draws_and_seeds_differ_if_it_is_random(it: Declared) -> None:
    """And only then: a deterministic transform ignores both."""
    subject = small_subject()
    cases = small_cases(subject)
    apply, last = it.transform.bind(subject), amounts([it.extremes[1]] * 3)
    first = apply(cases, last, 0)
    for other in (apply(cases, last, 1), apply(small_cases(subject, root=1), last, 0)):
        assert differs(subject, cases, first, other) == it.transform.is_random


def magnitudes_share_their_noise(it: Declared) -> None:
    """A larger magnitude scales the same noise, it does not draw another."""
    if not (it.transform.is_random and isinstance(it.transform, Photometric)):
        pytest.skip("it adds no noise to the image")
    subject = small_subject()
    cases = small_cases(subject)
    clean = torch.stack([case.image for case in cases])

    def change(magnitude: float, draw: int) -> Tensor:
        found = changed(subject, cases, it.transform, [magnitude] * 3, draw)
        return (found.images - clean).flatten()

    first, last = it.extremes
    assert F.cosine_similarity(change(first, 0), change(last, 0), dim=0) > 0.5
    assert F.cosine_similarity(change(first, 0), change(last, 1), dim=0).abs() < 0.2


def keeps_the_type_of_numbers(it: Declared) -> None:
    single, double = small_subject(), small_subject(torch.float64)
    cases, precise = small_cases(single), small_cases(double)
    magnitudes = [it.extremes[1]] * 3
    rough = changed(single, cases, it.transform, magnitudes)
    fine = changed(double, precise, it.transform, magnitudes)
    assert rough.images.dtype == torch.float32
    assert fine.images.dtype == torch.float64
    torch.testing.assert_close(rough.images.double(), fine.images, atol=1e-4, rtol=0)
    assert heatmaps_of(double, precise, fine).dtype == torch.float64


def works_on_a_gpu(it: Declared) -> None:
    here, there = small_subject(), small_subject(device="cuda")
    cases, far = small_cases(here), small_cases(there)
    magnitudes = [it.extremes[1]] * 3
    near = changed(here, cases, it.transform, magnitudes)
    found = changed(there, far, it.transform, magnitudes)
    assert found.images.device.type == "cuda"
    torch.testing.assert_close(found.images.cpu(), near.images, atol=1e-4, rtol=0)
    for one, other in zip(weights_of(there, found), weights_of(here, near), strict=True):
        assert_same_bits(one, other)
    moved = found.motion.move(torch.stack([case.reference for case in far]))
    assert moved.device.type == "cuda"
    assert heatmaps_of(there, far, found).device.type == "cuda"


def refuses_magnitudes_out_of_bounds_in_one_line(it: Declared) -> None:
    parameter = it.transform.parameter
    wrong: list[Any] = [float("nan"), float("inf"), 10**400, True, "much", None, [], [[1]]]
    wrong += [parameter.minimum - 1, parameter.maximum + 1, parameter.above]
    wrong += [it.magnitudes[0] + 0.5] if parameter.is_whole else []
    for value in wrong:
        for given in (value, [it.magnitudes[0], value]):
            if given == [it.magnitudes[0], -float("inf")]:
                given = -float("inf")
            with pytest.raises(InputError) as caught:
                parameter.values(given)
            text = str(caught.value)
            assert text.startswith(f"transform.{parameter.name}=")
            assert text.endswith(f"[{parameter.unit}]")
            assert "\n" not in text


def maps_come_back(it: Declared) -> None:
    """Up to interpolation, wherever the region says that nothing left the frame."""
    for magnitude, motion in _motions(it, size := (60, 72)):
        rows, columns = torch.meshgrid(*map(torch.arange, size), indexing="ij")
        smooth = ((rows / 11).sin() + (columns / 13).cos()).view(1, 1, *size)
        region = there_and_back_region(motion, torch.ones(1, 1, *size))
        error = (motion.move_back(motion.move(smooth)) - smooth)[:, 0][region].abs()
        assert region.float().mean() > 0.3, magnitude
        assert error.max() < 0.02, magnitude


def labels_points_and_boxes_move_as_pixels_do(it: Declared) -> None:
    for magnitude, motion in _motions(it, size := (60, 72)):
        rows, columns = torch.meshgrid(*map(torch.arange, size), indexing="ij")
        points = torch.tensor([[[36.0, 30.0], [44.0, 24.0], [27.0, 33.0]]], dtype=torch.float64)
        for (x, y), (new_x, new_y) in zip(points[0], motion.move_points(points)[0], strict=True):
            blob = (-((columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2) / 8).exp()
            moved = motion.move(blob[None, None].float())[0, 0]
            mass = moved.sum()
            assert (moved * (columns + 0.5)).sum() / mass == pytest.approx(float(new_x), abs=0.1)
            assert (moved * (rows + 0.5)).sum() / mass == pytest.approx(float(new_y), abs=0.1)

        box = torch.tensor([[[26.0, 22.0, 45.0, 39.0]]], dtype=torch.float64)
        labels = torch.zeros(1, *size, dtype=torch.int64)
        labels[:, 22:39, 26:45] = 1
        moved_labels = motion.move_labels(labels)[0]
        covered = motion.move(labels[:, None].float())[0, 0]
        clear = (covered - 0.5).abs() > 0.3
        assert torch.equal((moved_labels == 1)[clear], (covered > 0.5)[clear]), magnitude
        lit_rows, lit_columns = (covered > 0.02).nonzero().unbind(1)
        lit = [lit_columns.min(), lit_rows.min(), lit_columns.max() + 1, lit_rows.max() + 1]
        found = motion.move_boxes(box)[0, 0]
        assert (found - torch.stack(lit)).abs().max() <= 1, magnitude


def _motions(it: Declared, size: tuple[int, int]) -> list[tuple[float, Any]]:
    if not isinstance(it.transform, Geometric):
        pytest.skip("it moves no pixels")
    return [
        (magnitude, it.transform.motion(torch.tensor([magnitude], dtype=torch.float64), size))
        for magnitude in it.magnitudes
    ]


CHECKS: tuple[Callable[[Declared], None], ...] = (
    changes_nothing_at_its_neutral_value,
    changes_something_elsewhere,
    a_batch_is_its_images_one_by_one,
    leaves_nothing_behind,
    the_same_seed_gives_the_same_change,
    draws_and_seeds_differ_if_it_is_random,
    magnitudes_share_their_noise,
    keeps_the_type_of_numbers,
    refuses_magnitudes_out_of_bounds_in_one_line,
    maps_come_back,
    labels_points_and_boxes_move_as_pixels_do,
)
