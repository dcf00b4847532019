import numpy as np
import pytest

from xai_sweep.store.heatmaps import Heatmaps


def _saved(heatmaps: Heatmaps, folder) -> Heatmaps:
    heatmaps.save(folder / "h.npz")
    return Heatmaps.load(folder / "h.npz")


def _scaled(heatmaps: Heatmaps, factor: float) -> Heatmaps:
    reference = heatmaps.reference * np.float32(factor)
    fields = ("image_id", "rmse", "new", "photo", "photo_new")
    return Heatmaps(reference=reference, **{name: getattr(heatmaps, name) for name in fields})


@pytest.mark.parametrize("factor", [1e-22, 1e-4, 1.0, 1e40 / 1e8])
def test_float16_keeps_relative_precision_at_any_scale(make_heatmaps, tmp_path, factor):
    original = _scaled(make_heatmaps(["cat", "coffee"]), factor)
    back = _saved(original, tmp_path)
    exact = original.reference.astype(np.float64)
    largest = np.abs(exact).max(axis=(2, 3), keepdims=True)
    assert (largest > 0).all()
    allowed = np.maximum(2.0**-11 * np.abs(exact), 2.0**-25 * largest) * (1 + 1e-3)
    assert (np.abs(back.reference - exact) <= allowed).all()
    assert back.reference.dtype == np.float32


def test_plain_gradients_of_1e_12_survive_where_bare_float16_loses_them(make_heatmaps, tmp_path):
    original = _scaled(make_heatmaps(["cat"]), 1e-12 / 1.28e-6)
    assert not original.reference.astype(np.float16).any()
    np.testing.assert_allclose(
        _saved(original, tmp_path).reference, original.reference, rtol=1e-3, atol=1e-19
    )


def test_what_else_belongs_to_an_image_is_exact(make_heatmaps, tmp_path):
    original = make_heatmaps(["cat", "moon", "Äpfel/0 1.png"])
    back = _saved(original, tmp_path)
    assert back.image_id == original.image_id
    np.testing.assert_array_equal(back.rmse, original.rmse)
    np.testing.assert_array_equal(back.photo, original.photo)
    np.testing.assert_array_equal(back.photo_new, original.photo_new)


def test_saving_again_changes_nothing(make_heatmaps, tmp_path):
    once = _saved(make_heatmaps(["cat", "rocket"]), tmp_path)
    twice = _saved(once, tmp_path)
    np.testing.assert_array_equal(twice.reference, once.reference)
    np.testing.assert_array_equal(twice.new, once.new)


def test_zero_nan_and_infinity_survive(make_heatmaps, tmp_path):
    original = make_heatmaps(["cat", "rocket"])
    original.reference[0, 0] = 0
    original.reference[0, 1, :2, 0] = [np.nan, -np.inf]
    back = _saved(original, tmp_path).reference
    assert not back[0, 0].any()
    assert np.isnan(back[0, 1, 0, 0])
    assert back[0, 1, 1, 0] == -np.inf
    rest = np.isfinite(original.reference)
    assert np.abs(back[rest] - original.reference[rest]).max() < 2.0**-11 * 1.28e-6


def test_worst_is_by_rmse_then_name_and_nan_comes_last(make_heatmaps):
    heatmaps = make_heatmaps(["moon", "rocket", "coffee", "page", "cat"])
    assert heatmaps.worst(9).image_id == ("page", "rocket", "cat", "coffee", "moon")
    assert heatmaps.worst(2).image_id == ("page", "rocket")
    np.testing.assert_array_equal(heatmaps.worst(2).photo[1], heatmaps.photo[1])
    np.testing.assert_array_equal(heatmaps.worst(2).new[0], heatmaps.new[3])


def test_concatenate_keeps_each_image_once(make_heatmaps):
    joined = Heatmaps.concatenate([make_heatmaps(["cat", "moon"]), make_heatmaps(["page", "cat"])])
    assert joined.image_id == ("cat", "moon", "page")
    np.testing.assert_array_equal(joined.photo[2], make_heatmaps(["page"]).photo[0])


def test_pickled_content_is_refused(tmp_path):
    np.savez(tmp_path / "bad.npz", image_id=np.array([{"code": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        Heatmaps.load(tmp_path / "bad.npz")
