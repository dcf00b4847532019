"""What people give as weights and is none: one line each, which says what it is and what to do."""

import io
import json
import pickle
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from xai_sweep.core.errors import InputError
from xai_sweep.models.weights import file_identity, read_weights

STATE = {"weight": torch.ones(64, 64)}


def saved(content: object, **options: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """One bit of a weight, which the checksum in the file tells."""
    middle = content.index(b"\x00\x00\x80\x3f" * 16) + 20
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def archive(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name in names:
            file.writestr(name, b"content")
    return stream.getvalue()


def tar(*names: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        for name in names:
            file.addfile(tarfile.TarInfo(name))
    return stream.getvalue()


def script() -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # it is deprecated, and files of it are not
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), stream)
    return stream.getvalue()


def numpy_array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.ones(3))
    return stream.getvalue()


DAMAGED = "is damaged or not complete; copy or download it again"
OLD = {"_use_new_zipfile_serialization": False}
FILES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "empty": ("a.pth", lambda: b"", "is empty; copy or download it again"),
    "cut": ("a.pth", lambda: cut(saved(STATE)), DAMAGED),
    "one bit": ("a.pth", lambda: flipped(saved(STATE)), DAMAGED),
    "old and cut": ("a.pth", lambda: cut(saved(STATE, **OLD)), DAMAGED),
    "old and cut early": ("a.pth", lambda: saved(STATE, **OLD)[:60], DAMAGED),
    "a page": ("a.pth", lambda: b"\n<!DOCTYPE html><html>404</html>", "is a web page, not weights"),
    "a pointer": (
        "a.bin",
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "is a pointer of Git LFS, not the weights; run git lfs pull",
    ),
    "a zip": (
        "a.pth",
        lambda: archive("run/a.pth", "b", "c", "d"),
        "is a zip archive of run/a.pth, b, c and 1 more; unpack it and name the file of weights",
    ),
    "npz": ("a.npz", lambda: archive("arr.npy"), "is a zip archive of arr.npy; unpack it"),
    "a tar": ("a.tar", lambda: tar("a.pth", "b"), "is a tar archive of a.pth, b; unpack it"),
    "tar of old torch": (
        "a.pth",
        lambda: tar("sys_info", "pickle", "storages", "tensors"),
        "is a file of torch before 0.2; where you trust it, run: import torch; x = torch.load",
    ),
    "gzip": ("a.pth.gz", lambda: b"\x1f\x8b\x08\x00" + b"x" * 99, "is compressed by gzip; unpack"),
    "TorchScript": (
        "a.pt",
        script,
        "is a TorchScript archive; must be a state dict, that is tensors by name; run: import "
        'torch; torch.save(torch.jit.load("a.pt").state_dict(), "weights.pt")',
    ),
    "torch.export": (
        "a.pt2",
        lambda: archive("a/archive_format", "a/models/model.json"),
        "is a program of torch.export; must be a state dict",
    ),
    "ONNX": (
        "a.onnx",
        lambda: b"\x08\x08\x12\x07pytorch" + b"x" * 99,
        "is a network in ONNX; must",
    ),
    "ONNX by another name": (
        "a.pt",
        lambda: b"\x08\x08\x12\x07pytorch\x1a",
        "is a network in ONNX",
    ),
    "Keras": ("a.h5", lambda: b"\x89HDF\r\n\x1a\n", "is an HDF5 file, as Keras writes it; weights"),
    "Keras 3": (
        "a.keras",
        lambda: archive("config.json", "model.weights.h5"),
        "is a file of Keras",
    ),
    "TensorFlow": ("a.ckpt.index", lambda: b"\x00\x00\x00\x02", "is a file of TensorFlow; weights"),
    "numpy": ("a.npy", numpy_array, "is an array of numpy; must be a state dict"),
    "a pickle": (
        "a.pkl",
        lambda: pickle.dumps({"weight": [1]}),
        "is a pickle that torch.save did not write; where you trust it, run: import pickle, torch;"
        ' torch.save(pickle.load(open("a.pkl", "rb")), "weights.pt")',
    ),
    "a text": ("config.json", lambda: b"{}", "is a text; the weights are in another file"),
    "a photo": (
        "a.pt",
        lambda: b"\xff\xd8\xff\xe0\x00\x10JFIF",
        "must be a file of torch.save, Lightning or safetensors; it begins with '\\\\xff\\\\xd8",
    ),
    "safetensors, cut": ("a.safetensors", lambda: b'\x50\0\0\0\0\0\0\0{"a":', DAMAGED),
    "protocol 4": (
        "a.pt",
        lambda: saved({"x": range(3)}, pickle_protocol=4),
        "is damaged, or holds what cannot be read without running code; where you trust it, run",
    ),
    "a whole module of old": (
        "a.pt",
        lambda: saved(nn.Sequential(nn.Linear(2, 2)), **OLD),
        "holds torch.nn.modules.container.Sequential, ",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_what_holds_no_weights_is_named(tmp_path: Path, name: str) -> None:
    file, make, message = FILES[name]
    path = tmp_path / file
    path.write_bytes(make())
    with pytest.raises(InputError) as error:
        read_weights(str(path))
    assert str(error.value).startswith(f"model.weights={path}: {message}")
    assert "\n" not in str(error.value)


FOLDERS: dict[str, tuple[tuple[str, ...], str]] = {
    "empty": ((), "is a folder without model.safetensors or pytorch_model.bin"),
    "several": (("a.pt", "b.pt", "c.txt"), "is a folder with a.pt, b.pt; name the file of weights"),
    "distributed": (
        (".metadata", "__0_0.distcp"),
        "is a folder without model.safetensors or pytorch_model.bin; run: python -m "
        "torch.distributed.checkpoint.format_utils dcp_to_torch {folder} w.pt",
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_without_weights(tmp_path: Path, name: str) -> None:
    files, message = FOLDERS[name]
    for file in files:
        (tmp_path / file).write_bytes(saved(STATE))
    for ask in (read_weights, file_identity):
        with pytest.raises(InputError) as error:
            ask(str(tmp_path))
        text = message.format(folder=tmp_path)
        assert str(error.value) == f"model.weights={tmp_path}: {text}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"weight_map": {"weight": "lost.safetensors"}},
            "a.index.json lists lost.safetensors, whi",
        ),
        ({"weights": {}}, "must be an index with weight_map, as transformers writes it"),
        ([1], "must be an index with weight_map, as transformers writes it"),
    ],
)
def test_an_index_that_is_none(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "a.index.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as error:
        read_weights(str(path))
    assert str(error.value).startswith(f"model.weights={path}: {message}")


def test_the_only_file_of_a_folder(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a.safetensors")
    (tmp_path / "notes.txt").write_text("best of three")
    assert torch.equal(read_weights(str(tmp_path)).tensors["weight"], STATE["weight"])


@pytest.mark.parametrize("seed", range(40))
def test_noise_in_a_file_gives_one_line(tmp_path: Path, seed: int) -> None:
    """Whatever is overwritten, the tensors that are read are those that were saved, or none."""
    dice = np.random.default_rng(seed)
    content = bytearray(saved({"epoch": np.float64(3), "sd": STATE}, **(OLD if seed % 2 else {})))
    # Old files have no checksum: the weights themselves, at their end, are left alone.
    end = len(content) - (STATE["weight"].nbytes + 64 if seed % 2 else 0)
    for at in dice.integers(0, end, 1 + seed // 4):
        content[at] = dice.integers(0, 256)
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    try:
        found = read_weights(str(path)).tensors
    except InputError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  # either outcome is right
    else:
        assert all(torch.equal(tensor, STATE["weight"]) for tensor in found.values())
