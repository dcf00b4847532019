"""Text files in the encodings in which people have them."""

import logging
from pathlib import Path

log = logging.getLogger(__name__)


def read_text(key: str, path: Path) -> str:
    """A file in UTF-8, in UTF-16 with a mark at the beginning, or otherwise in cp1252.

    Spreadsheets write the last; that it was taken is said, because it cannot be known.

    Args:
        key: the configuration key that names the file.
        path: the file.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is no text.
    """
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    if b"\0" in content:
        raise UnicodeDecodeError("utf-8", content, 0, 1, "it holds zero bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252")
    log.warning("%s=%s: is not in UTF-8, and is read as cp1252", key, path)
    return text
