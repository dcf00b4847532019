"""Randomised networks by definition, from the list of their layers."""

import math


def random_layers(layers: list[str], share: float, order: str) -> set[str]:
    """Names of the layers that are random, given all of them from the first to the last.

    Adebayo et al. 2018, section 2: cascading randomisation, from the top layer down or from the
    bottom up, and independent randomisation, one layer at a time.
    """
    count = math.ceil(round(share * len(layers), 6))
    if order == "independent":
        return set() if count == 0 else {layers[len(layers) - count]}
    return set(layers[:count] if order == "bottom" else layers[len(layers) - count :])
