"""What makes expensive explainers cheap enough for suites that run all of them."""

# Superpixels that thumbnails have too.
_LIME = ["explainer.num_samples=16", "explainer.segmentation=grid"]
_LIME += ["explainer.options={rows: 2, columns: 3}"]
_GRID = ["explainer.segmentation=grid", "explainer.num_superpixels=9"]

CHEAP: dict[str, list[str]] = {
    "b_lrp": ["explainer.posterior=added_dropout", "explainer.draws=4"],
    "feature_ablation": _GRID,
    "gradient_shap": ["explainer.samples=3"],
    "integrated_gradients": ["explainer.steps=4"],
    "kernel_shap": [*_GRID, "explainer.samples=32"],
    "lime": _LIME,
    "lime_package": _LIME,
    "occlusion": ["explainer.window=6", "explainer.stride=4"],
    "rde": ["explainer.steps=4", "explainer.block=3"],
    "smooth_grad": ["explainer.samples=3"],
}

# That accounts for its relevance, that is coarse, that draws, that has superpixels, that fits:
# for tests of whole jobs. The contract suite runs over every method by itself.
ONE_OF_EACH_KIND = ("lrp", "grad_cam", "smooth_grad", "lime", "pattern_attribution")


def cheaply(explainer: str) -> list[str]:
    """The overrides that choose an explainer and make it cheap."""
    return [f"explainer={explainer}", *CHEAP.get(explainer, [])]


# Whose maps are multiplied by the logit, which a matrix product computes. On some CPUs its last
# digit depends on the number of rows, as that of the model's own probabilities does.
SCALED_BY_THE_LOGIT = {"pattern_attribution", "pattern_net"}
