"""LIME: repeatable, independent of its batch, and honest about what cannot be explained."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from heatmaps import heatmaps_of
from networks import network
from torch import Tensor

from xai_sweep.core.errors import ImageError, InputError
from xai_sweep.explainers import Lime
from xai_sweep.models import Classifier

TARGETS = torch.tensor([[0, 1], [1, 3], [4, 2]])
SEEDS = torch.tensor([11, 22, 33])
GRID: Mapping[str, Any] = {"segmentation": "grid", "options": {"rows": 3, "columns": 3}}


def classifier() -> Classifier:
    """A network that is not as undecided as random weights are."""
    module = network("gated")
    with torch.no_grad():
        module.get_submodule("head").weight.mul_(30)
    return Classifier(module)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("design", ["bernoulli", "paired", "orthogonal"])
@pytest.mark.parametrize("samples", [60, "auto"])
def test_an_image_is_explained_alike_alone_and_in_any_company(
    design: str, samples: int | str, images: Tensor
) -> None:
    explainer = Lime(num_samples=samples, design=design, stderr=0.07, max_samples=1024, **GRID)
    network_ = classifier()
    together = explainer.surrogates(network_, images, TARGETS, SEEDS)
    if samples == "auto":
        assert len(together.num_samples.unique()) > 1
    for index in (2, 0, 1):
        for rank in range(2):
            alone = explainer.surrogates(
                network_,
                images[index : index + 1],
                TARGETS[index, rank][None, None],
                SEEDS[index][None],
            )
            close = {"rtol": 1e-5, "atol": 1e-7}
            torch.testing.assert_close(
                alone.coefficients[0, 0], together.coefficients[index, rank], **close
            )
            torch.testing.assert_close(alone.stderr[0, 0], together.stderr[index, rank], **close)
            torch.testing.assert_close(alone.r2[0, 0], together.r2[index, rank], **close)
            assert alone.num_samples[0, 0] == together.num_samples[index, rank]


def test_how_many_samples_share_a_pass_changes_nothing(images: Tensor) -> None:
    expected = Lime(num_samples=60, **GRID).explain(classifier(), images, TARGETS, SEEDS).heatmaps
    for size in (1, 7, 1000):
        explain = heatmaps_of(Lime(num_samples=60, samples_at_once=size, **GRID), classifier())
        torch.testing.assert_close(explain(images, TARGETS, SEEDS), expected, rtol=1e-5, atol=1e-7)


def test_images_with_different_numbers_of_superpixels_share_a_batch() -> None:
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(2, 3, 6, 6, generator=generator).repeat_interleave(4, 2)
    images = images.repeat_interleave(4, 3)
    images[1, :, :, 8:] = images[1, :, :1, 8:9]
    explainer = Lime(
        num_samples=100, segmentation="felzenszwalb", options={"min_size": 4, "scale": 1}
    )
    explain = heatmaps_of(explainer, classifier())
    found = explainer.surrogates(classifier(), images, TARGETS[:2], SEEDS[:2])
    counts = found.present.sum(dim=1)
    assert counts[0] != counts[1]
    assert torch.equal(found.labels.amax(dim=(1, 2)) + 1, counts)
    for index in range(2):
        alone = explain(images[index : index + 1], TARGETS[index][None], SEEDS[index][None])
        torch.testing.assert_close(alone[0].double(), found.heatmaps()[index], rtol=1e-5, atol=1e-7)


def test_without_seeds_every_image_has_the_masks_of_the_explainers_seed(images: Tensor) -> None:
    explain = heatmaps_of(Lime(num_samples=40, seed=4, **GRID), classifier())
    first = explain(images, TARGETS)
    assert torch.equal(first, explain(images, TARGETS, torch.zeros(3, dtype=torch.int64)))
    back = explain(images.flip(0), TARGETS.flip(0)).flip(0)
    torch.testing.assert_close(back, first, rtol=1e-5, atol=1e-7)
    other = Lime(num_samples=40, seed=5, **GRID).explain(classifier(), images, TARGETS).heatmaps
    assert not torch.allclose(other, first)


def test_common_masks_make_copies_alike_and_independent_ones_do_not(images: Tensor) -> None:
    copies = images + 1e-4
    distances = {}
    for choice in ("common", "independent"):
        explain = heatmaps_of(Lime(num_samples=40, masks=choice, **GRID), classifier())
        change = explain(copies, TARGETS, SEEDS) - explain(images, TARGETS, SEEDS)
        distances[choice] = change.norm()
        assert torch.equal(explain(images, TARGETS, SEEDS), explain(images, TARGETS, SEEDS))
    assert distances["common"] < 0.05 * distances["independent"]


def test_auto_stops_where_the_error_is_small_enough(images: Tensor) -> None:
    explainer = Lime(num_samples="auto", stderr=0.08, max_samples=1000, **GRID)
    found = explainer.surrogates(classifier(), images, TARGETS, SEEDS)
    relative = found.stderr.norm(dim=2) / found.coefficients.norm(dim=2)
    early = found.num_samples < 1000
    assert (relative[early] <= 0.08).all()
    assert early.any()
    assert set(found.num_samples.unique().tolist()) <= {128, 256, 512, 1000}
    # Half the samples were not enough.
    for index, rank in (found.num_samples == 256).nonzero().tolist():
        less = Lime(num_samples="auto", stderr=0.08, max_samples=128, **GRID)
        before = less.surrogates(classifier(), images, TARGETS, SEEDS)
        assert before.stderr[index, rank].norm() > 0.08 * before.coefficients[index, rank].norm()
    tight = Lime(num_samples="auto", stderr=1e-6, max_samples=200, **GRID)
    assert (tight.surrogates(classifier(), images, TARGETS).num_samples == 200).all()


def test_the_facts_are_those_of_the_surrogates(images: Tensor) -> None:
    explainer = Lime(num_samples=80, **GRID)
    facts = explainer.explain(classifier(), images, TARGETS, SEEDS).facts
    assert (facts["num_samples"] == 80).all()
    assert facts["surrogate_r2"].gt(0.1).all()
    assert facts["surrogate_r2"].lt(1).all()
    found = explainer.surrogates(classifier(), images, TARGETS, SEEDS)
    torch.testing.assert_close(facts["coefficient_stderr"], found.stderr.mean(dim=2))
    assert explainer.prepare(classifier(), images) == {}


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_reduced_precision_changes_little(precision: str, images: Tensor) -> None:
    rough = Lime(num_samples=200, precision=precision, **GRID)
    found = rough.explain(classifier(), images, TARGETS, SEEDS).heatmaps
    exact = Lime(num_samples=200, **GRID).explain(classifier(), images, TARGETS, SEEDS).heatmaps
    assert not torch.equal(found, exact)
    assert (found - exact).norm() < 0.05 * exact.norm()
    assert 0 < rough.prepare(classifier(), images)["probability_difference"] < 0.01


def test_carried_superpixels_are_used_and_keep_their_masks(images: Tensor) -> None:
    own = Lime(num_samples=60, **GRID)
    moved = Lime(num_samples=60, superpixels="moved", **GRID)
    assert own.explain(classifier(), images, TARGETS, SEEDS).carried is None
    clean = moved.explain(classifier(), images, TARGETS, SEEDS)
    carried = clean.carried
    assert carried is not None
    assert carried.unique().tolist() == list(range(9))
    again = moved.explain(classifier(), images, TARGETS, SEEDS, carried)
    assert torch.equal(again.heatmaps, clean.heatmaps)
    assert again.carried is carried
    whole = own.surrogates(classifier(), images, TARGETS, SEEDS)
    same = moved.surrogates(classifier(), images, TARGETS, SEEDS, carried)
    assert torch.equal(same.coefficients, whole.coefficients)
    # Superpixel 2 has left, and something came in: the others keep their numbers.
    cut = torch.where(carried == 2, -1, carried)
    found = moved.surrogates(classifier(), images, TARGETS, SEEDS, cut)
    assert found.present.tolist() == [[n != 2 for n in range(10)]] * 3
    assert (found.coefficients[..., 2] == 0).all()
    others = [0, 1, 3, 4, 5, 6, 7, 8]
    change = found.coefficients[..., others] - whole.coefficients[..., others]
    assert change.norm() < 0.5 * whole.coefficients[..., others].norm()


ONE = r"^explainer.segmentation=quickshift: found a single superpixel, and LIME needs at least two"
FEW = r"^explainer.num_samples=9: must be more than the 9 superpixels of the image"


def test_images_that_cannot_be_explained_say_why(images: Tensor) -> None:
    flat = torch.ones(2, 3, 16, 16) * torch.tensor([0.3, -1.0, 2.0])[:, None, None]
    with pytest.raises(ImageError, match=r"^an image of one colour: hiding its superpixels cha"):
        Lime(num_samples=50, **GRID).explain(classifier(), flat, TARGETS[:2])
    with pytest.raises(ImageError, match=r"^an image of one colour"):
        Lime(num_samples=50).explain(
            classifier(), torch.cat([images, flat]), torch.zeros(5, 1).long()
        )
    with pytest.raises(ImageError, match=ONE):
        Lime(num_samples=50).explain(classifier(), images, TARGETS)
    with pytest.raises(ImageError, match=FEW):
        Lime(num_samples=9, **GRID).explain(classifier(), images, TARGETS)
    Lime(num_samples=10, **GRID).explain(classifier(), images, TARGETS)
    with pytest.raises(ImageError, match=r"=18: .* twice as many with complements \(design\)$"):
        Lime(num_samples=18, design="paired", **GRID).explain(classifier(), images, TARGETS)
    # A grey level hides the superpixels of a flat image too.
    assert (
        Lime(num_samples=50, hide=0.0, **GRID)
        .explain(classifier(), flat, TARGETS[:2])
        .heatmaps.any()
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_samples": 1}, "num_samples=1: must be auto or a whole number of at least 2"),
        ({"num_samples": "many"}, "num_samples=many: must be auto or a whole number of at least"),
        ({"segmentation": "watershed"}, "segmentation=watershed: must be one of quickshift, slic,"),
        ({"options": {"max_dits": 3}}, "options.max_dits=3: unknown key; did you mean max_dist?"),
        ({"options": 3}, "options=3: must be null or parameters of the segmentation"),
        ({"hide": 2}, "hide=2: must be mean or a number of at least 0 and of at most 1"),
        ({"hide": True}, "hide=true: must be mean or a number"),
        ({"design": "latin"}, "design=latin: must be one of bernoulli, paired, orthogonal"),
        ({"masks": "same"}, "masks=same: must be one of common, independent"),
        ({"superpixels": "kept"}, "superpixels=kept: must be one of own, moved"),
        ({"precision": "int8"}, "precision=int8: must be one of float32, bfloat16, float16"),
        ({"kernel_width": 0.0}, "kernel_width=0.0: must be a number above 0"),
        ({"alpha": 0.0}, "alpha=0.0: must be a number above 0"),
        ({"stderr": -1.0}, "stderr=-1.0: must be a number above 0"),
        ({"max_samples": 100}, "max_samples=100: must be a whole number of at least 128"),
        ({"samples_at_once": 0}, "samples_at_once=0: must be a whole number of at least 1 or null"),
    ],
)
def test_bad_parameters_are_named(given: Mapping[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^explainer.{message}"):
        Lime(**given)
