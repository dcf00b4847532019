"""What is computed, how often, and for whom; on a network that costs nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from networks import network
from torch import Tensor

from xai_sweep.core.errors import Failure, InputError
from xai_sweep.core.seeds import derive, standard_normal
from xai_sweep.data import Batch, ImageFile
from xai_sweep.explainers.base import Explained, Explainer
from xai_sweep.metrics import RMSE, SecondDraw
from xai_sweep.models import Classifier
from xai_sweep.study.case import Case, images
from xai_sweep.study.probe import Probe
from xai_sweep.study.question import Change, Question
from xai_sweep.study.rows import Comparison
from xai_sweep.study.subject import Subject
from xai_sweep.transforms import Counterpart, GaussianNoise, Parameter, Rotation, Transform
from xai_sweep.transforms.base import Apply

ANGLES = (0.5, 1.0, 5.0, 10.0)
BATCH = Batch(
    files=tuple(ImageFile(name, Path(f"{name}.png")) for name in ("a", "b", "c")),
    images=torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)),
    failed=(),
)


@dataclass(frozen=True)
class Call:
    images: Tensor
    targets: Tensor
    seeds: Tensor


@dataclass(frozen=True, eq=False)
class Recorder(Explainer):
    """Planted: remembers what it was asked for; noise of the seeds it is given."""

    calls: list[Call] = field(default_factory=list)
    source: ClassVar[str] = "this file"

    def explain(
        self,
        classifier: Classifier,
        images: Tensor,
        targets: Tensor,
        seeds: Tensor | None = None,
        carried: Tensor | None = None,
    ) -> Explained:
        assert seeds is not None
        self.calls.append(Call(images, targets, seeds))
        return Explained(standard_normal(seeds, (targets.shape[1], *images.shape[-2:])))

    def sizes(self) -> list[int]:
        return [len(call.images) for call in self.calls]


class Drawing(Recorder):
    """The same, and says that it draws."""

    is_deterministic: ClassVar[bool] = False


@dataclass(frozen=True)
class Negated(Transform):
    """Planted: explains another network at every magnitude but 0, the next class at 2."""

    parameter: ClassVar[Parameter] = Parameter("level", "1")
    shares_subject: ClassVar[bool] = False

    def bind(self, subject: Subject) -> Apply:
        def apply(cases: Sequence[Case], magnitudes: Tensor, draw: int) -> Counterpart:
            (level,) = set(magnitudes.tolist())  # one magnitude at a time
            other = Classifier(network("gated"), mean=(0.0,) * 3, std=(1.0,) * 3)
            targets = torch.stack([case.targets for case in cases])
            return Counterpart(
                images(cases),
                subject=Subject(other, subject.explainer) if level else None,
                targets=(targets + 1) % 5 if level == 2 else None,
            )

        return apply


def compare(
    explainer: Explainer,
    transform: Transform | None = None,
    magnitudes: tuple[float, ...] = ANGLES,
    batch: Batch = BATCH,
    *,
    batch_size: int = 4,
    **question: object,
) -> list[Comparison]:
    change = Change(transform or Rotation(), magnitudes, Question(**{"ranks": 2, **question}))
    return probed(explainer, [change], batch, batch_size)


def probed(
    explainer: Explainer, changes: Sequence[Change], batch: Batch, batch_size: int
) -> list[Comparison]:
    classifier = Classifier(network("plain"), mean=(0.0,) * 3, std=(1.0,) * 3)
    metrics = {"rmse": RMSE(), "second_draw": SecondDraw()}
    probe = Probe(Subject(classifier, explainer), changes, metrics, batch_size=batch_size)
    return probe.predict_step(batch)


def column(comparisons: Sequence[Comparison], name: str) -> list[object]:
    return [row[name] for comparison in comparisons for row in comparison.rows]


@pytest.mark.parametrize("angles", [[5], [0.5, 1, 5, 10], list(range(1, 21))])
def test_clean_images_are_explained_once_however_many_magnitudes(angles: list[float]) -> None:
    recorder = Recorder()
    compare(recorder, magnitudes=tuple(map(float, angles)), batch_size=64)
    assert recorder.sizes() == [3, 3 * len(angles)]
    assert torch.equal(recorder.calls[0].images, BATCH.images)


def test_clean_images_are_explained_once_however_many_curves() -> None:
    recorder, noise = Drawing(), GaussianNoise()
    changes = [
        Change(Rotation(), ANGLES, Question(ranks=2)),
        Change(noise, (0.5, 5.0), Question(ranks=2, target="rank", region="none")),
        Change(Rotation(), (5.0,), Question(ranks=2, region_of=(10.0,))),
    ]
    found = probed(recorder, changes, BATCH, batch_size=64)
    assert recorder.sizes() == [3, 3, 12, 6, 3]
    for index, change in enumerate(changes):
        alone = probed(Drawing(), [change], BATCH, batch_size=64)
        of_curve = [each for each in found if each.curve == index]
        assert [each.image_id for each in of_curve] == [each.image_id for each in alone]
        assert [each.magnitude for each in of_curve] == [each.magnitude for each in alone]
        assert [each.rows for each in of_curve] == [each.rows for each in alone]


def test_batches_are_filled_with_pairs_of_image_and_magnitude() -> None:
    recorder = Recorder()
    compare(recorder, batch_size=4)
    assert recorder.sizes() == [3, 4, 4, 4]


def test_there_is_a_comparison_per_image_and_magnitude_in_order() -> None:
    found = compare(Recorder(), batch_size=5)
    assert [(each.image_id, each.magnitude) for each in found] == [
        (name, angle) for name in ("a", "b", "c") for angle in ANGLES
    ]
    assert column(found, "rank") == [1, 2] * 12


def test_unreadable_images_keep_their_place() -> None:
    failed = ((ImageFile("b2", Path("b2.png")), Failure("truncated")),)
    recorder = Recorder()
    found = compare(recorder, batch=Batch(BATCH.files, BATCH.images, failed))
    assert recorder.sizes() == [3, 4, 4, 4]
    names = ("a", "b", "b2", "c")
    assert [each.image_id for each in found] == [name for name in names for _ in range(4)]
    assert [row["error"] for each in found[8:12] for row in each.rows] == ["truncated"] * 8


def test_a_batch_without_readable_images_asks_nothing_of_the_network() -> None:
    failed = tuple((file, Failure("truncated")) for file in BATCH.files)
    recorder = Recorder()
    found = compare(recorder, batch=Batch((), torch.empty(0, 0, 0, 0), failed))
    assert recorder.calls == []
    assert column(found, "error") == ["truncated"] * 3 * 4 * 2


def test_a_single_image_is_explained_beside_a_copy_of_itself() -> None:
    recorder = Recorder()
    one = Batch(BATCH.files[:1], BATCH.images[:1], ())
    assert len(compare(recorder, magnitudes=(5.0,), batch=one)) == 1
    assert recorder.sizes() == [2, 2]
    assert torch.equal(recorder.calls[0].images[0], recorder.calls[0].images[1])


def test_every_copy_of_an_image_is_explained_with_the_seed_of_the_image() -> None:
    recorder = Recorder()
    compare(recorder, seed=7)
    expected = [derive(7, name, "explainer") for name in ("a", "b", "c")]
    clean, *copies = recorder.calls
    assert clean.seeds.tolist() == expected
    assert torch.cat([call.seeds for call in copies]).tolist() == [
        seed for seed in expected for _ in range(4)
    ]


def test_the_second_draw_has_another_seed_and_methods_that_do_not_draw_have_none() -> None:
    recorder, drawing = Recorder(), Drawing()
    still, noisy = compare(recorder), compare(drawing)
    assert column(still, "rmse_second_draw") == [0.0] * 24
    # Two independent standard normal maps of 32 x 32 differ by the square root of two.
    assert column(noisy, "rmse_second_draw") == pytest.approx([2**0.5] * 24, abs=0.15)
    assert drawing.sizes() == [3, 3, 4, 4, 4]
    first, second = drawing.calls[:2]
    assert not set(first.seeds.tolist()) & set(second.seeds.tolist())
    assert torch.equal(first.images, second.images)
    # The copies share the first draw, so what does not depend on the image cancels out.
    assert column(compare(Drawing(), GaussianNoise(), (1.0,)), "rmse") == [0.0] * 6


@pytest.mark.parametrize("target", ["class", "rank"])
def test_target_says_which_classes_of_the_copy_are_explained(target: str) -> None:
    recorder = Recorder()
    found = compare(recorder, GaussianNoise(), (5.0,), target=target, ranks=3)
    clean, copies = (call.targets.flatten().tolist() for call in recorder.calls)
    ref, new = column(found, "class_ref"), column(found, "class_new")
    assert ref != new
    assert clean == ref
    assert copies == (ref if target == "class" else new)
    first = [row for each in found for row in each.rows if row["rank"] == 1]
    assert [row["flipped"] for row in first] == [r["class_ref"] != r["class_new"] for r in first]


def test_region_of_is_the_intersection_of_its_magnitudes_and_ones_own() -> None:
    def fractions(**question: object) -> list[object]:
        return [each.rows[0]["valid_fraction"] for each in compare(Recorder(), **question)[:4]]

    half, one, five, ten = fractions()
    assert half >= one > five > ten  # type: ignore[operator]
    together = fractions(region_of=(0.5, 1.0, 5.0, 10.0))
    assert len(set(together)) == 1
    assert together[0] <= ten  # type: ignore[operator]
    up_to_five = fractions(region_of=(5.0,))
    assert up_to_five[2] == five
    assert up_to_five[0] <= five  # type: ignore[operator]
    assert up_to_five[3] <= ten  # type: ignore[operator]
    assert fractions(region="none") == [1.0] * 4


def test_more_ranks_than_classes_are_refused() -> None:
    with pytest.raises(InputError, match="ranks=6: must be at most 5, the model's classes"):
        compare(Recorder(), ranks=6)


def test_every_draw_has_noise_of_its_own_and_the_first_is_that_of_a_single_draw() -> None:
    recorder = Recorder()
    found = compare(recorder, GaussianNoise(), (0.5, 1.0), draws=3)
    assert [(each.image_id, each.magnitude) for each in found] == [
        (name, sigma) for name in ("a", "b", "c") for sigma in (0.5, 1.0)
    ]
    assert column(found[:1], "draw") == [0, 0, 1, 1, 2, 2]
    assert column(found[:1], "rank") == [1, 2] * 3
    distances = [row["image_distance"] for row in found[0].rows if row["rank"] == 1]
    assert len(set(distances)) == 3
    once = compare(Recorder(), GaussianNoise(), (0.5, 1.0))
    assert [each.rows[:2] for each in found] == [each.rows for each in once]


def test_a_transform_may_change_the_network_and_the_class() -> None:
    found = compare(Recorder(), Negated(), (0.0, 1.0, 2.0))
    still, other, next_class = found[:3]
    for row in still.rows:
        assert row["logit_distance"] == 0
        assert row["class_explained"] == row["class_ref"]
    assert all(row["logit_distance"] > 0 for row in other.rows)
    assert column([other], "class_explained") == column([still], "class_ref")
    shifted = [(name + 1) % 5 for name in column([still], "class_ref")]  # type: ignore[operator]
    assert column([next_class], "class_explained") == shifted


def test_the_transform_and_the_question_cannot_both_choose_the_class() -> None:
    with pytest.raises(InputError, match="target=rank: must be class: the transform decides"):
        compare(Recorder(), Negated(), (2.0,), target="rank")


def test_distances_are_in_pixels_and_logits() -> None:
    one = Batch(BATCH.files[:1], BATCH.images[:1], ())
    (found,) = compare(Recorder(), GaussianNoise(), (0.5,), one)
    sigma = found.rows[0]["image_distance"] / (3 * 32 * 32) ** 0.5
    assert sigma == pytest.approx(0.5, rel=0.05)
    (still,) = compare(Recorder(), magnitudes=(0.0,), batch=one)
    assert still.rows[0]["image_distance"] == 0
    assert still.rows[0]["logit_distance"] == 0
