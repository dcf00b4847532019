"""Pictures: what is plotted where, read back from the artists, and files that open."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from oracles.rows import made_rows
from PIL import Image

from xai_sweep.core.errors import InputError
from xai_sweep.report import figures
from xai_sweep.store.heatmaps import Heatmaps


def lines(figure: Figure, panel: int = 0) -> dict[str, np.ndarray]:
    """The points of each line, by its name in the legend."""
    (legend,) = figure.legends or [None]
    if legend is None:
        return {}
    named = {
        to_hex(handle.get_color()): text.get_text()
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True)
    }
    plotted = [line for line in figure.axes[panel].lines if len(line.get_xdata())]
    return {
        named[to_hex(line.get_color())]: np.column_stack([line.get_xdata(), line.get_ydata()])
        for line in plotted
        if to_hex(line.get_color()) in named
    }


def opened(path: Path) -> tuple[str | None, tuple[int, int]]:
    with Image.open(path) as image:
        image.load()
        return image.format, image.size


def titles(figure: Figure) -> list[str]:
    return [ax.get_title() or ax.get_title(loc="left") for ax in figure.axes]


def test_a_line_is_the_mean_over_images() -> None:
    rows = made_rows(images=2, magnitudes=[1, 5], ranks=2)
    rows["rmse"] = [0.1, 1, 0.3, 3, 0.5, 5, 0.9, 9]  # image, magnitude, rank
    rows["rmse_there_and_back"] = [0.01, 0.03, 0.1, 0.1, 0.01, 0.03, 0.1, 0.1]
    plotted = lines(figures.plot_curves(rows))
    np.testing.assert_allclose(plotted["rank 1"], [[1, 0.3], [5, 0.6]])
    np.testing.assert_allclose(plotted["rank 2"], [[1, 3], [5, 6]])
    np.testing.assert_allclose(plotted["there and back"], [[1, 0.02], [5, 0.1]])


def test_the_band_is_the_bootstrap_over_images() -> None:
    rows = made_rows(images=12, magnitudes=[1, 5], ranks=1)
    figure = figures.plot_curves(rows)
    (band,) = figure.axes[0].collections
    corners = band.get_paths()[0].vertices
    values = rows[rows["magnitude"] == 1]["rmse"].to_numpy()
    generator = np.random.default_rng(1)
    means = [generator.choice(values, len(values)).mean() for _ in range(4000)]
    low, high = np.percentile(means, [2.5, 97.5])
    at_1 = corners[corners[:, 0] == 1][:, 1]
    assert [at_1.min(), at_1.max()] == pytest.approx([low, high], abs=0.1 * (high - low))
    again = figures.plot_curves(rows).axes[0].collections[0].get_paths()[0].vertices
    np.testing.assert_array_equal(corners, again)


def test_draws_of_an_image_are_not_more_images() -> None:
    rows = made_rows(images=1, magnitudes=[1, 5], ranks=1)
    rows = pd.concat([rows.assign(rmse=0.2), rows.assign(rmse=0.4, draw=1)]).assign(draws=2)
    figure = figures.plot_curves(rows)
    assert "n = 1 image" in titles(figure)[0]
    assert len(figure.axes[0].collections) == 0
    np.testing.assert_allclose(lines(figure)["rank 1"][:, 1], 0.3)


def test_failed_images_are_counted_and_left_out() -> None:
    rows = made_rows(images=3, magnitudes=[1, 5], ranks=2)
    failed = rows["image_id"] == "image_1.png"
    rows.loc[failed, "error"] = "cannot be read"
    figure = figures.plot_curves(rows)
    assert "n = 2 images (1 without a value)" in titles(figure)[0]
    expected = rows[~failed & (rows["rank"] == 1)].groupby("magnitude")["rmse"].mean()
    np.testing.assert_allclose(lines(figure)["rank 1"][:, 1], expected)
    nothing = figures.plot_curves(rows.assign(rmse=np.nan))
    assert [text.get_text() for text in nothing.axes[0].texts] == ["no values"]


def test_a_panel_per_question_controls_last_and_grey() -> None:
    rows = pd.concat([made_rows(explainer=name) for name in ("random", "saliency", "grad_cam")])
    units = dict.fromkeys(rows["question"].unique(), "degrees")
    figure = figures.plot_curves(rows, units=units)
    assert [title.split(",")[0] for title in titles(figure)] == ["grad_cam", "saliency", "random"]
    colours = [np.array(ax.lines[0].get_color()[:3]) for ax in figure.axes]
    assert [np.ptp(colour) == 0 for colour in colours] == [False, False, True]
    assert {ax.get_xlabel() for ax in figure.axes} == {"angle [degrees]"}


def test_whether_a_method_is_a_control_is_said_by_the_rows() -> None:
    rows = made_rows(explainer="a_plugin").assign(is_control=True)
    colour = figures.plot_curves(rows).axes[0].lines[0].get_color()[:3]
    assert np.ptp(colour) == 0


def test_two_questions_are_two_panels_and_their_titles_say_what_differs() -> None:
    rows = pd.concat(
        [
            made_rows(images=1, ranks=1).assign(rmse=0.0275),
            made_rows(images=1, ranks=1, region="none").assign(rmse=0.0439),
        ]
    )
    figure = figures.plot_curves(rows)
    assert titles(figure) == [
        f"grad_cam, rotation\nnet, photos\nregion {region}\nn = 1 image"
        for region in ("mask", "none")
    ]
    for panel, value in enumerate((0.0275, 0.0439)):
        np.testing.assert_allclose(lines(figure, panel)["rank 1"][:, 1], value)
    assert titles(figures.plot_curves(rows[rows["region"] == "mask"])) == [
        "grad_cam, rotation\nnet, photos\nn = 1 image"
    ]


def test_no_dashed_line_where_nothing_is_interpolated() -> None:
    rows = made_rows().assign(rmse_there_and_back=0.0)
    assert "there and back" not in lines(figures.plot_curves(rows))
    assert "there and back" not in lines(
        figures.plot_curves(rows.assign(rmse_there_and_back=np.nan))
    )
    assert "there and back" not in lines(figures.plot_curves(made_rows(), "spearman"))


def test_one_magnitude_is_points_with_error_bars_beside_each_other() -> None:
    figure = figures.plot_curves(made_rows(images=3, magnitudes=[5], ranks=2))
    bars = [line for line in figure.axes[0].lines if line.get_marker() in ("o", "s")]
    assert bars[0].get_xdata()[0] < 5 < bars[1].get_xdata()[0]
    assert list(figure.axes[0].get_xticks()) == [5]
    assert len(figure.axes[0].containers) == 2


def test_many_decades_many_ranks_and_a_single_image_are_drawn(tmp_path: Path) -> None:
    rows = made_rows(images=1, magnitudes=[0.01, 1, 10], ranks=10)
    figure = figures.plot_curves(rows.assign(parameter="sigma"))
    assert figure.axes[0].get_xscale() == "log"
    assert figure.axes[0].get_xlabel() == "sigma"
    assert opened(figures.save(figure, tmp_path / "a.png"))[0] == "PNG"


def test_a_metric_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"^metric=rsme: must be one of .*, rmse, nrmse"):
        figures.plot_curves(made_rows(), "rsme")
    with pytest.raises(InputError, match=r"^rows=none: must be at least one row$"):
        figures.plot_curves(made_rows().head(0))


@pytest.fixture
def kept() -> dict[float, Heatmaps]:
    """Heatmaps of one image at two magnitudes, written in the wrong order."""
    generator = np.random.default_rng(0)
    photo = generator.integers(0, 255, (1, 32, 32, 3), dtype=np.uint8)
    maps = generator.normal(size=(1, 2, 32, 32)).astype(np.float32)
    return {
        float(magnitude): Heatmaps(
            image_id=("image_0.png",),
            rmse=np.zeros(1, np.float32),
            reference=maps,
            new=maps * magnitude,
            photo=photo,
            photo_new=255 - photo,
        )
        for magnitude in (5, 1)
    }


def test_a_strip_is_a_grid_of_photos_and_maps(kept: dict[float, Heatmaps]) -> None:
    rows = made_rows(images=1, magnitudes=[1, 5], ranks=2, flipped=[5])
    figure = figures.plot_strip(kept, rows.sample(frac=1, random_state=0))
    tiles = [ax for ax in figure.axes if ax.images]
    assert [len(tiles), len(figure.axes)] == [9, 12]  # 3 x (photo, 2 maps), and 3 colour bars
    assert [ax.get_title(loc="left") for ax in tiles] == [
        "photo\nEgyptian cat 50.0%",
        "1  Egyptian cat\np 50.0%",
        "2  tiger cat\np 25.0%",
        "angle 1\nEgyptian cat 40.0%",
        "1  Egyptian cat\np 30.0%   rmse 0.1",
        "2  tiger cat\np 15.0%   rmse 0.2",
        "angle 5\ntiger cat 40.0%",
        "1  Egyptian cat\np 30.0%   rmse 0.5",
        "2  tiger cat\np 15.0%   rmse 1",
    ]
    red = [ax.get_title(loc="left") for ax in tiles if ax._left_title.get_color() != "black"]
    assert red == ["angle 5\ntiger cat 40.0%"]
    for tile, heatmaps in ((4, kept[1]), (8, kept[5])):
        drawn = tiles[tile].images[0].get_array()
        np.testing.assert_array_equal(drawn, heatmaps.new[0, (tile - 1) % 3])
    np.testing.assert_array_equal(tiles[2].images[0].get_array(), kept[1].reference[0, 1])
    np.testing.assert_array_equal(tiles[6].images[0].get_array(), kept[5].photo_new[0])


def test_ranks_that_explain_another_class_are_red(kept: dict[float, Heatmaps]) -> None:
    rows = made_rows(images=1, magnitudes=[1, 5], ranks=2, flipped=[5])
    rows = rows.assign(target="rank", class_explained=rows["class_new"])
    figure = figures.plot_strip(kept, rows)
    tiles = [ax for ax in figure.axes if ax.images]
    assert tiles[7].get_title(loc="left") == "1  tiger cat\np 40.0%   rmse 0.5"
    red = [at for at, ax in enumerate(tiles) if ax._left_title.get_color() != "black"]
    assert red == [6, 7, 8]


def test_a_class_that_is_neither_is_named_by_its_number(kept: dict[float, Heatmaps]) -> None:
    rows = made_rows(images=1, magnitudes=[1, 5], ranks=2).assign(class_explained=7)
    tiles = [ax for ax in figures.plot_strip(kept, rows).axes if ax.images]
    assert tiles[4].get_title(loc="left") == "1  class 7\n   rmse 0.1"


def test_a_strip_shows_the_first_draw_of_one_question(kept: dict[float, Heatmaps]) -> None:
    rows = made_rows(images=1, magnitudes=[1, 5], ranks=2)
    both = pd.concat([rows.assign(rmse=9.0, draw=1), rows]).assign(draws=2)
    tiles = [ax for ax in figures.plot_strip(kept, both).axes if ax.images]
    assert tiles[4].get_title(loc="left").endswith("rmse 0.1")
    with pytest.raises(ValueError, match="exactly one question"):
        figures.plot_strip(kept, pd.concat([rows, rows.assign(question="another")]))


def test_one_symmetric_scale_per_row_red_for_positive(kept: dict[float, Heatmaps]) -> None:
    figure = figures.plot_strip(kept, made_rows(images=1, magnitudes=[1, 5], ranks=2))
    maps = [ax.images[0] for ax in figure.axes if ax.images]
    limits = [maps[at].get_clim() for at in (1, 2, 4, 5, 7, 8)]
    expected = np.percentile(np.abs(kept[1].new), 99)
    assert limits[0] == limits[1] == limits[2] == limits[3] == (-expected, expected)
    assert limits[4] == limits[5] == pytest.approx((-5 * expected, 5 * expected))
    red, _, blue, _ = maps[1].get_cmap()(maps[1].norm(expected))
    assert red > 0.3 > blue
    assert maps[1].get_cmap()(maps[1].norm(0.0)) == pytest.approx(colormaps["RdBu"](0.5), abs=0.02)


@pytest.mark.parametrize("values", ["zero", "one pixel", "nan", "infinity"])
def test_degenerate_maps_are_drawn(
    values: str, kept: dict[float, Heatmaps], tmp_path: Path
) -> None:
    maps = np.zeros((1, 2, 32, 32), np.float32)
    maps[0, :, 3, 3] = {"zero": 0, "one pixel": 2, "nan": np.nan, "infinity": np.inf}[values]
    image, grey = kept[1], kept[1].photo[..., :1]
    odd = Heatmaps(image.image_id, image.rmse, maps, maps, grey, grey)
    figure = figures.plot_strip({1.0: odd}, made_rows(images=1, magnitudes=[1], ranks=2))
    tile = [ax for ax in figure.axes if ax.images][1].images[0]
    limit = 2 if values == "one pixel" else 1
    assert tile.get_clim() == (-limit, limit)
    shown = np.where(np.isfinite(maps[0, 0]), maps[0, 0], np.nan)
    np.testing.assert_array_equal(tile.get_array().filled(np.nan), shown)
    figures.save(figure, tmp_path / "odd.png")


def test_any_text_can_be_drawn(kept: dict[float, Heatmaps], tmp_path: Path) -> None:
    rows = made_rows(images=1, magnitudes=[1, 5], ranks=2)
    odd = r"$\frac{a $5 \$ 狐 _^ " + "\n\t\x00" + 50 * "x"
    rows = rows.assign(label_ref=odd, label_new=odd, explainer=odd, model=odd, transform=odd)
    rows = rows.assign(parameter="$p_{")
    for name, figure in (("s", figures.plot_strip(kept, rows)), ("c", figures.plot_curves(rows))):
        assert opened(figures.save(figure, tmp_path / f"{name}.png"))[0] == "PNG"
        assert max(len(line) for title in titles(figure) for line in title.split("\n")) < 80


def test_a_strip_shows_one_image(kept: dict[float, Heatmaps]) -> None:
    rows = made_rows(images=1, magnitudes=[1, 5], ranks=2)
    with pytest.raises(ValueError, match="exactly one image"):
        figures.plot_strip({}, rows)
    with pytest.raises(ValueError, match="exactly one image"):
        figures.plot_strip({1.0: kept[1].select([0, 0])}, rows)


def test_save_replaces_whole_files_in_folders_it_makes(tmp_path: Path) -> None:
    path = figures.save(Figure(figsize=(2, 1)), tmp_path / "a" / "b.png")
    assert opened(path) == ("PNG", (240, 120))
    figures.save(Figure(figsize=(3, 1)), path)
    assert opened(path) == ("PNG", (360, 120))
    assert list(path.parent.iterdir()) == [path]


def test_side_by_side_is_a_line_per_setting(kept: dict[float, Heatmaps]) -> None:
    rows = made_rows(images=1, magnitudes=[1], ranks=2)
    figure = figures.plot_side_by_side({"lrp": (kept[1], rows), "lime": (kept[5], rows)})
    tiles = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title(loc="left") for ax in tiles] == [
        title
        for name in ("lrp", "lime")
        for title in (
            f"{name}\nEgyptian cat 50.0%",
            "1  Egyptian cat\np 50.0%",
            "2  tiger cat\np 25.0%",
        )
    ]
    np.testing.assert_array_equal(tiles[4].images[0].get_array(), kept[5].reference[0, 0])
    texts = [text.get_text() for text in figure.texts]
    assert texts[:2] == ["image_0.png", "reference heatmaps in 2 settings"]
    with pytest.raises(ValueError, match="exactly one image"):
        figures.plot_side_by_side({})


def test_representatives_have_titles_of_their_own(kept: dict[float, Heatmaps]) -> None:
    rows = made_rows(images=1, magnitudes=[1], ranks=2)
    figure = figures.plot_representatives({"a": (kept[1], rows)}, "title", "subtitle")
    assert [text.get_text() for text in figure.texts][:2] == ["title", "subtitle"]
