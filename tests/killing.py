"""Stands in for SIGKILL at any call that changes the disk."""

import os
from collections.abc import Callable
from typing import Any

import pytest

CALLS = ("fsync", "replace", "unlink", "link")


class Killed(BaseException):
    """Nothing that comes after it reaches the disk."""


def kill_at(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let so many calls that change the disk through, and none after them."""
    left = [count]

    def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return call(*args, **kwargs)

        return counted

    for name in CALLS:
        monkeypatch.setattr(os, name, deadly(getattr(os, name)))
