"""What explainers make for a network once and use for many images."""

from collections.abc import Callable, Hashable
from typing import TypeVar, cast
from weakref import WeakKeyDictionary

from xai_sweep.graphs.capture import Captured

Made = TypeVar("Made")


class Memory:
    """What one explainer has made for each network, forgotten with the network.

    It is no part of the explainer's value: a copy of the explainer starts without it. What was made
    from weights that have changed since is made anew.
    """

    def __init__(self) -> None:
        self._made: WeakKeyDictionary[Captured, tuple[tuple[int, ...], dict[Hashable, object]]]
        self._made = WeakKeyDictionary()

    def recall(self, captured: Captured, key: Hashable, make: Callable[[], Made]) -> Made:
        """What was made for a network under a key; made now if there is nothing.

        Args:
            captured: the network.
            key: distinguishes several things that are made for the same network.
            make: makes it; the result must depend on the network, the key and the explainer alone.
        """
        versions = captured.versions()
        if captured not in self._made or self._made[captured][0] != versions:
            self._made[captured] = versions, {}
        known = self._made[captured][1]
        if key not in known:
            known[key] = make()
        return cast(Made, known[key])

    def __reduce__(self) -> tuple[type["Memory"], tuple[()]]:
        """Copies and pickles are empty."""
        return Memory, ()
