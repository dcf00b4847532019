"""What every metric promises. A suite inherits this and gives the metrics as a fixture."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from metrics.views import SUBJECT, view_of
from torch import Tensor, nn

from xai_sweep.explainers import InputXGradient
from xai_sweep.metrics import Metric, Need
from xai_sweep.models import Classifier
from xai_sweep.study.subject import Subject
from xai_sweep.study.view import View
from xai_sweep.transforms import Identity, Rotation, Transform

B, K, SIDE = 3, 2, 24
DTYPES = {
    "float64": torch.float64,
    "int64": torch.int64,
    "int32": torch.int32,
    "int8": torch.int8,
    "bool": torch.bool,
}


class Failing(nn.Module):
    """A network that must not be asked."""

    def forward(self, images: Tensor) -> Tensor:
        raise AssertionError("this metric declares that it does not need the network")


FAILING = Subject(Classifier(Failing()), InputXGradient())


def tensors(seed: int = 0, count: int = B, side: int = SIDE) -> dict[str, Tensor]:
    """Heavy-tailed heatmaps as relevance is, loosely related to their references, and photos."""
    draw = torch.Generator().manual_seed(seed)
    new, noise, other = torch.randn(3, count, K, side, side, generator=draw).mul(2).sinh()
    return {
        "new": new,
        "reference": new.roll(1, -1) * 0.7 + noise * 0.5,
        "second": new.roll(1, -1) * 0.7 + other * 0.5,
        "images": torch.randn(count, 3, side, side, generator=draw),
    }


def masks(count: int = B, side: int = SIDE) -> list[Tensor]:
    """An object in the middle of each image, of its own size."""
    found = []
    for index in range(count):
        mask = torch.zeros(side, side, dtype=torch.bool)
        mask[side // 3 : side - 4 - index, side // 3 : side - 5] = True
        found.append(mask)
    return found


def view(transform: Transform, seed: int = 0, **changes: Tensor) -> View:
    """The cases above under a transform, with some of their tensors replaced."""
    angles = [5.0, 10.0, 20.0] if isinstance(transform, Rotation) else [0.0] * B
    given = {**tensors(seed), **changes}
    return view_of(masks=masks(), transform=transform, magnitudes=angles, **given)


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Equal to the last bit, NaN included."""
    return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)


def equal(a: Tensor, b: Tensor) -> bool:
    """Equal to the last bit, NaN included."""
    return torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())


class MetricContract:
    """Inherit this with a fixture `metric`."""

    @pytest.fixture(params=[Identity(), Rotation()], ids=["still", "moving"])
    def transform(self, request: pytest.FixtureRequest) -> Transform:
        found: Transform = request.param
        return found

    def test_gives_what_it_declares(self, metric: Metric, transform: Transform) -> None:
        found = metric(view(transform))
        assert list(found) == [column.name for column in metric.columns]
        for column in metric.columns:
            assert found[column.name].shape == (B, K)
            assert found[column.name].dtype == DTYPES[column.kind]
            assert not found[column.name].isinf().any()
            assert not found[column.name].isnan().all(), "undefined on ordinary heatmaps"

    def test_says_what_its_columns_are(self, metric: Metric) -> None:
        for column in metric.columns:
            assert column.name.isidentifier()
            assert column.name == column.name.lower()
            assert column.description.endswith(".")
            assert column.null
            assert column.kind in DTYPES

    def test_is_a_value(self, metric: Metric) -> None:
        assert replace(metric) == metric  # type: ignore[type-var]  # metrics are dataclasses
        assert hash(replace(metric)) == hash(metric)  # type: ignore[type-var]

    def test_a_case_does_not_see_its_batch(self, metric: Metric, transform: Transform) -> None:
        whole = view(transform)
        together = metric(whole)
        for size in (1, 2):
            parts = [metric(part) for part in whole.parts(size)]
            assert same({n: torch.cat([part[n] for part in parts]) for n in together}, together)
        for index, part in enumerate(whole.parts(1)):
            given = {name: each[index : index + 1] for name, each in tensors().items()}
            alone = view_of(
                masks=masks()[index : index + 1],
                transform=transform,
                magnitudes=part.magnitudes.tolist(),
                names=[str(index)],
                **given,
            )
            assert same(metric(alone), {n: each[index : index + 1] for n, each in together.items()})

    def test_large_maps_do_not_see_their_batch_either(self, metric: Metric) -> None:
        if Need.MODEL in metric.needs:
            pytest.skip("the network is asked one case at a time, whatever the size")
        side = 200  # large enough for torch to divide one map among threads
        given = tensors(count=2, side=side)
        whole = view_of(masks=masks(2, side), **given)
        parts = [metric(part) for part in whole.parts(1)]
        assert same({n: torch.cat([part[n] for part in parts]) for n in parts[0]}, metric(whole))

    def test_classes_do_not_see_each_other(self, metric: Metric, transform: Transform) -> None:
        together = metric(view(transform))
        maps = ("new", "reference", "second")
        first = {name: tensors()[name][:, :1] for name in maps}
        alone = metric(view(transform, **first))
        assert same(alone, {name: values[:, :1] for name, values in together.items()})

    def test_changes_nothing_that_it_is_given(self, metric: Metric, transform: Transform) -> None:
        one = view(transform)
        before = [each.clone() for each in (one.explained.heatmaps, one.reference, one.images)]
        first = metric(one)
        after = (one.explained.heatmaps, one.reference, one.images)
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        assert same(metric(view(transform)), first)

    @pytest.mark.parametrize("exponent", [-60, -20, 20, 60])
    def test_scale(self, metric: Metric, transform: Transform, exponent: int) -> None:
        factor = 2.0**exponent  # which costs no digit
        maps = {n: tensors()[n] * factor for n in ("new", "reference", "second")}
        found, before = metric(view(transform, **maps)), metric(view(transform))
        unit = factor if metric.scale == "proportional" else 1
        for name, values in found.items():
            torch.testing.assert_close(
                values / unit, before[name], rtol=1e-9, atol=1e-12, equal_nan=True
            )

    @pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
    def test_a_heatmap_that_is_not_finite_stays_alone(
        self, metric: Metric, transform: Transform, value: float
    ) -> None:
        maps = {name: tensors()[name].clone() for name in ("new", "reference", "second")}
        for each in maps.values():
            each[1, 0, SIDE // 2, SIDE // 2] = value
        found, before = metric(view(transform, **maps)), metric(view(transform))
        for name, values in found.items():
            assert values[1, 0].isnan()
            values[1, 0] = before[name][1, 0] = 0
        assert same(found, before)

    @pytest.mark.parametrize("value", [0.0, 1.0, -0.1])
    def test_constant_heatmaps_are_undefined_or_equal(
        self, metric: Metric, transform: Transform, value: float
    ) -> None:
        maps = {n: torch.full_like(tensors()[n], value) for n in ("new", "reference", "second")}
        found = metric(view(transform, **maps))
        for column in metric.columns:
            values = found[column.name]
            assert not values.isinf().any()
            if column.better == "lower" and metric.scale == "proportional":
                assert (values.abs() <= 1e-6).all()

    def test_ties(self, metric: Metric, transform: Transform) -> None:
        tied = {n: tensors()[n].sign() * (tensors()[n].abs() > 3) for n in ("new", "reference")}
        whole = view(transform, **tied)
        parts = [metric(part) for part in whole.parts(1)]
        together = metric(whole)
        assert same({n: torch.cat([part[n] for part in parts]) for n in together}, together)
        assert not any(values.isinf().any() for values in together.values())

    def test_pixels_that_do_not_count(self, metric: Metric) -> None:
        draw = torch.Generator().manual_seed(5)
        region = torch.rand(B, SIDE, SIDE, generator=draw) > 0.2
        whole = metric(view(Identity(), region=region))
        if metric.covers == "frame":
            assert same(metric(view(Identity())), whole), "it covers the frame, not the region"
            return
        for rubbish in (torch.nan, torch.inf, 3e38, 1e-40):
            dirty = {
                name: torch.where(region[:, None], tensors()[name], rubbish)
                for name in ("new", "reference", "second")
            }
            assert same(metric(view(Identity(), region=region, **dirty)), whole)

    def test_an_empty_region_is_undefined_and_stays_alone(self, metric: Metric) -> None:
        region = torch.ones(B, SIDE, SIDE, dtype=torch.bool)
        region[1] = False
        found, before = metric(view(Identity(), region=region)), metric(view(Identity()))
        if metric.covers == "region":
            for name, values in found.items():
                assert values[1].isnan().all()
                values[1] = before[name][1] = 0
        assert same(found, before)

    def test_looks_only_at_what_it_declares(self, metric: Metric, transform: Transform) -> None:
        given = tensors()
        if Need.SECOND_DRAW not in metric.needs:
            del given["second"]
        if metric.needs.isdisjoint({Need.PAIR, Need.SECOND_DRAW}):
            given["reference"] = torch.full_like(given["reference"], torch.nan)
        less = view_of(
            masks=masks() if Need.ANNOTATION in metric.needs else None,
            subject=SUBJECT if Need.MODEL in metric.needs else FAILING,
            transform=transform,
            magnitudes=view(transform).magnitudes.tolist(),
            **given,
        )
        assert same(metric(less), metric(view(transform)))

    def test_the_declared_direction(self, metric: Metric) -> None:
        good, bad = metric(easy(good=True)), metric(easy(good=False))
        for column in metric.columns:
            better, worse = good[column.name], bad[column.name]
            assert better.isfinite().all()
            if column.better == "higher":
                assert (better > worse).all()
            if column.better == "lower":
                assert (better < worse).all()

    @pytest.mark.gpu
    def test_devices_agree(self, metric: Metric, transform: Transform) -> None:
        here, there = view(transform), on_gpu(transform)
        found = metric(there)
        for name, values in metric(here).items():
            assert found[name].device.type == "cuda"
            torch.testing.assert_close(
                found[name].cpu(), values, rtol=1e-4, atol=1e-4, equal_nan=True
            )


def on_gpu(transform: Transform) -> View:
    """The same view with everything on the GPU."""
    given = {name: each.cuda() for name, each in tensors().items()}
    subject = Subject(Classifier(SUBJECT.classifier.module.cuda()), InputXGradient())
    return view_of(
        masks=[mask.cuda() for mask in masks()],
        transform=transform,
        magnitudes=view(transform).magnitudes.tolist(),
        subject=subject,
        **given,
    )


class OnTheObject(nn.Module):
    """The logit of each class is ten times the mean of the object's pixels; the last one's is 0."""

    def forward(self, images: Tensor) -> Tensor:
        logit = 10 * images[..., BUMP > 0.5].mean(dim=(1, 2))
        return torch.stack([logit] * K + [torch.zeros_like(logit)], dim=1)


_AT = torch.arange(SIDE) - (SIDE - 1) / 2
BUMP = torch.exp(-(_AT[:, None] ** 2 + _AT**2) / 18)


def easy(good: bool) -> View:
    """A bright object, and a smooth heatmap that hardly changes or noise that avoids the object."""
    draw = torch.Generator().manual_seed(2)
    noise = torch.randn(3, B, K, SIDE, SIDE, generator=draw)
    bump = BUMP.expand(B, K, -1, -1)
    if good:
        maps = bump + 0.01 * noise
        maps[1] = bump
    else:
        maps = noise - 5 * bump * torch.tensor([1.0, 0.0, 0.0])[:, None, None, None, None]
    return view_of(
        maps[0],
        maps[1],
        second=maps[2],
        images=(BUMP > 0.5).float().expand(B, 3, -1, -1),
        masks=[BUMP > 0.5] * B,
        transform=Rotation(),
        magnitudes=[10.0] * B,
        subject=Subject(Classifier(OnTheObject()), InputXGradient()),
    )
