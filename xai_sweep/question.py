"""What a sweep asks of every pair of images."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """What is asked of every pair of images.

    Attributes:
        seed: root of everything that is drawn.
        ranks: K, how many of the best classes are explained.
        target: ``class``, the clean image's classes are explained in both images; ``rank``, each
            image's own K best classes, compared rank by rank as in the thesis.
        region: ``mask``, ``rectangle`` or ``none``, see `valid_region`.
        region_of: magnitudes whose valid regions are intersected with each magnitude's own.
    """

    seed: int = 0
    ranks: int = 4
    target: str = "class"
    region: str = "mask"
    region_of: tuple[float, ...] = ()
