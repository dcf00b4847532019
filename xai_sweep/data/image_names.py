"""Which images of a set a cell of a table means."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath
from unicodedata import normalize


class ImageNames:
    """Finds images by what a table calls them.

    An image is named by its ``image_id``, by the end of that path (its bare file name for example),
    or by a longer path that ends with it; with backslashes, without its extension, in other capital
    letters, or with letters composed in another way.

    Args:
        images: every ``image_id`` of the set.
    """

    def __init__(self, images: Collection[str]) -> None:
        self._images = frozenset(images)
        # From the most exact way to name an image to the least: by whole path, then by its end,
        # each with the extension and without.
        ways: list[dict[str, list[str]]] = [defaultdict(list) for _ in range(4)]
        for name in sorted(images):
            for at, written in enumerate((name, str(PurePosixPath(name).with_suffix("")))):
                whole, *ends = _ends(_loosely(written))
                ways[at][whole].append(name)
                for end in ends:
                    ways[2 + at][end].append(name)
        self._ways: list[Mapping[str, list[str]]] = [*ways]

    def named(self, written: str) -> tuple[list[str], int]:
        """The images that a name means, and how exactly; more is more exact.

        A bare name may mean several. The list is empty if it means none.
        """
        exact = PurePosixPath(written.strip().replace("\\", "/")).as_posix()
        if exact in self._images:
            return [exact], len(self._ways) + 1
        loose = _loosely(exact)
        for at, way in enumerate(self._ways):
            if loose in way:
                return way[loose], len(self._ways) - at
        for end in _ends(loose):
            for way in self._ways[:2]:
                if end in way:
                    return way[end], 0
        return [], 0


def _loosely(name: str) -> str:
    return normalize("NFC", name).casefold()


def _ends(path: str) -> Iterator[str]:
    """The path itself, then without its first folder, and so on to the bare name."""
    parts = path.split("/")
    return ("/".join(parts[at:]) for at in range(len(parts)))
