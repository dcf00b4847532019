"""Class names."""

from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

from torchvision.models import AlexNet_Weights

from xai_sweep.core.errors import InputError
from xai_sweep.core.text import read_text
from xai_sweep.models.label_files import FORMS, NoNamesError, names_in

KEY = "model.labels"
_LARGEST = 2**24


def imagenet_labels(classes: int = 1000) -> tuple[str, ...]:
    """The names of ImageNet-1k's 1,000 classes in their usual order; none for other numbers."""
    return tuple(AlexNet_Weights.DEFAULT.meta["categories"]) if classes == 1000 else ()


def read_labels(labels: str | Sequence[str] | None) -> tuple[str, ...]:
    """Class names from a list, or from a file in one of the forms of `label_files`.

    Raises:
        InputError: the file cannot be read, or its names cannot be told.
    """
    if labels is None:
        return ()
    if not isinstance(labels, str):
        return tuple(str(label) for label in labels)
    path = Path(labels).expanduser()
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(KEY, labels, "is larger than 16 MB; must hold class names alone")
        text = normalize("NFC", read_text(KEY, path))
    except OSError as error:
        allowed = f"must be a list of names or a file of them ({error.strerror})"
        raise InputError(KEY, labels, allowed) from error
    except UnicodeDecodeError as error:
        raise InputError(KEY, labels, "is no text; must be a file of class names") from error
    try:
        return tuple(names_in(text))
    except NoNamesError as error:
        first = next((line.strip() for line in text.splitlines() if line.strip()), "")
        begins = f", and begins with {first[:60]!r}" if first else ""
        raise InputError(KEY, labels, f"{error}{begins}; must hold {FORMS}") from error


def check_count(labels: Sequence[str], given: object, classes: int, key: str = KEY) -> None:
    """Check that every class of a network has a name.

    Args:
        labels: the names; none is right for every network.
        given: what the user gave, for the message.
        classes: of the network.
        key: under which it was given.

    Raises:
        InputError: there are more names or fewer.
    """
    if labels and len(labels) != classes:
        named = f"{labels[0]}, ..., {labels[-1]}"
        allowed = (
            f"holds {len(labels)} class names ({named}), and the network has {classes} classes"
        )
        raise InputError(key, given, f"{allowed}; must hold one name per class")
