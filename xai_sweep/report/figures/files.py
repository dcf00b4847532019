"""What every picture shares: short texts, and how it is written.

Figures are made without pyplot, which would keep each of them in memory until it is closed.
"""

import warnings
from pathlib import Path

from matplotlib.figure import Figure

from xai_sweep.store.atomic import replacing

DPI = 120


def save(figure: Figure, path: str | Path) -> Path:
    """Write a PNG, completely or not at all; missing folders are made.

    Returns:
        The path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file, warnings.catch_warnings():
        # A label in a script that the font lacks becomes boxes, which the picture shows.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(file, format="png", dpi=DPI)
    return path


def shortened(text: object, length: int) -> str:
    """At most `length` printable characters, the last one an ellipsis if some are left out."""
    printable = "".join(sign if sign.isprintable() else "?" for sign in str(text))
    return printable if len(printable) <= length else printable[: length - 1].rstrip(" ,") + "…"
