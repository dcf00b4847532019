"""What a column of the rows is: declared by whoever computes it, once.

The store makes its schema from these declarations, the report its headings, and the documentation
its reference. Nothing here knows torch.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["float64", "int64", "int32", "int8", "bool", "string"]


@dataclass(frozen=True)
class Column:
    """A column of the rows.

    Attributes:
        name: as it stands in the rows.
        description: what the number is, its unit, and how it is computed, in a sentence.
        kind: the type of its values.
        better: which values are better: ``higher`` or ``lower``; None if neither is.
        null: what a missing value means.
        source: where the quantity is defined.
        null_is_sound: whether a sound heatmap may have no such number, as one of few superpixels.
    """

    name: str
    description: str
    kind: Kind = "float64"
    better: Literal["higher", "lower"] | None = None
    null: str = "undefined"
    source: str = ""
    null_is_sound: bool = False
