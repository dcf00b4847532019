"""Hashes of files."""

import hashlib
from pathlib import Path

import pytest

from xai_sweep.core.hashing import file_sha256


def test_hash_follows_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert file_sha256(path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"three")
    assert file_sha256(path) == hashlib.sha256(b"three").hexdigest()


def test_an_untouched_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    digest = file_sha256(path)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("the file was read again"))
    assert file_sha256(path) == digest


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_sha256(tmp_path / "a")
