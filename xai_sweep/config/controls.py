"""The names of the null explainers, for pictures and the command line, which know no torch.

A test holds them against the classes in `xai_sweep.explainers.controls.null`.
"""

CONTROLS = ("constant", "random", "sobel")


def is_control(explainer: str) -> bool:
    """Whether an explainer as it is named in the rows, parameters included, is a null explainer."""
    return explainer.partition("(")[0] in CONTROLS
