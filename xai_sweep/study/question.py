"""What a sweep asks of every pair of images."""

from dataclasses import dataclass

from xai_sweep.transforms import Transform


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


@dataclass(frozen=True)
class Change:
    """How every image is changed for one curve, and what is asked about it.

    Attributes:
        transform: in which way; its own magnitudes do not count.
        magnitudes: by how much, in native units.
        question: what is asked; seed and ranks are the same for all curves that share a pass.
    """

    transform: Transform
    magnitudes: tuple[float, ...]
    question: Question
