"""What a file is that somebody gives as weights, and what to do if it holds none."""

import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

_AGAIN = "copy or download it again"
_UNPACK = "unpack it and name the file of weights"
_TENSORFLOW = "weights of TensorFlow are not read; convert them to PyTorch first"
_OLD_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_NO_STATE_DICT = "must be a state dict, that is tensors by name"

DAMAGED = f"is damaged or not complete; {_AGAIN}"

# By its first bytes.
_BEGINNINGS = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the weights; run git lfs pull",
    b"\x89HDF": f"is an HDF5 file, as Keras writes it; {_TENSORFLOW}",
    b"\x93NUMPY": f"is an array of numpy; {_NO_STATE_DICT}",
    b"GGUF": f"is a GGUF file of a language model; {_NO_STATE_DICT}",
    b"\x1f\x8b": f"is compressed by gzip; {_UNPACK}",
    b"BZh": f"is compressed by bzip2; {_UNPACK}",
    b"\xfd7zXZ": f"is compressed by xz; {_UNPACK}",
    b"7z\xbc\xaf": f"is a 7z archive; {_UNPACK}",
    b"Rar!": f"is a rar archive; {_UNPACK}",
}
# By how its name ends, for kinds that have no beginning of their own.
_ENDINGS = {
    ".onnx": f"is a network in ONNX; {_NO_STATE_DICT}",
    ".h5": f"is a file of Keras; {_TENSORFLOW}",
    ".pb": f"is a file of TensorFlow; {_TENSORFLOW}",
    ".index": f"is a file of TensorFlow; {_TENSORFLOW}",
    ".data-00000-of-00001": f"is a file of TensorFlow; {_TENSORFLOW}",
    ".tflite": f"is a file of TensorFlow; {_TENSORFLOW}",
    ".msgpack": "is a file of Flax; weights of JAX are not read; convert them to PyTorch first",
    ".json": "is a text; the weights are in another file",
    ".yaml": "is a text; the weights are in another file",
    ".py": "is a text; the weights are in another file",
    ".txt": "is a text; the weights are in another file",
}


def is_safetensors(head: bytes) -> bool:
    """Whether a file with these first bytes is a safetensors file: a length, and then JSON."""
    return head[8:9] == b"{" and head[4:8] == b"\0\0\0\0"


def what_else(file: Path, head: bytes) -> str | None:
    """What a file is that `torch.save` did not write, as an error message; None if it did.

    Args:
        file: the file.
        head: its first bytes, 64 at least.
    """
    if not head:
        return f"is empty; {_AGAIN}"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "is a web page, not weights: the download failed or asks for a login"
    for beginning, what in _BEGINNINGS.items():
        if head.startswith(beginning):
            return what
    if head.startswith(b"PK"):
        return _what_zip(file)
    if head.startswith(b"\x80"):
        return None if _OLD_TORCH in head[:20] else _what_pickle(file)
    if tarfile.is_tarfile(file):
        return _what_tar(file)
    for ending, what in _ENDINGS.items():
        if file.name.endswith(ending):
            return what
    if b"pytorch" in head[:64] or b"onnx" in head[:64]:
        return _ENDINGS[".onnx"]
    begins = head[:16].decode("ascii", "backslashreplace")
    allowed = "must be a file of torch.save, Lightning or safetensors"
    return f"{allowed}; it begins with {begins!r}"


def _what_pickle(file: Path) -> str:
    return (
        "is a pickle that torch.save did not write; where you trust it, run: import pickle, torch; "
        f'torch.save(pickle.load(open("{file.name}", "rb")), "weights.pt")'
    )


def _what_zip(file: Path) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            # torch does not look at the checksums, which take 80 ms for 100 MB; it can leave all
            # of them out.
            if any(each.CRC for each in archive.infolist()) and archive.testzip():
                return DAMAGED
    except Exception:  # zipfile raises whatever damaged headers lead to
        return DAMAGED
    if any(name.endswith("/constants.pkl") for name in names):
        return (
            f"is a TorchScript archive; {_NO_STATE_DICT}; run: import torch; "
            f'torch.save(torch.jit.load("{file.name}").state_dict(), "weights.pt")'
        )
    if any(name.endswith("/data.pkl") for name in names):
        return None
    if any(name.endswith("archive_format") for name in names):
        return (
            f"is a program of torch.export; {_NO_STATE_DICT}; run: import torch; "
            f'torch.save(torch.export.load("{file.name}").state_dict, "weights.pt")'
        )
    if any(name.endswith(".h5") for name in names):
        return _ENDINGS[".h5"]
    return f"is a zip archive of {some(names)}; {_UNPACK}"


def _what_tar(file: Path) -> str:
    with tarfile.open(file) as archive:
        names = archive.getnames()
    if {"storages", "tensors"} <= set(names):
        return f"is a file of torch before 0.2; {conversion(file)}"
    return f"is a tar archive of {some(names)}; {_UNPACK}"


def conversion(file: Path) -> str:
    """The two lines of Python that make a file of weights from one that must be trusted."""
    return (
        "where you trust it, run: import torch; "
        f'x = torch.load("{file.name}", weights_only=False); '
        'torch.save(x.state_dict(), "weights.pt"), with x["state_dict"] or the like in place of '
        "x.state_dict() if x is a dictionary"
    )


def some(names: Sequence[str], most: int = 3) -> str:
    """The first of several names, and how many others there are."""
    more = len(names) - most
    shown = ", ".join(names[:most]) or "nothing"
    return f"{shown} and {more} more" if more > 0 else shown
