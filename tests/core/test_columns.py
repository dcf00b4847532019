"""Columns are values."""

from dataclasses import FrozenInstanceError

import pytest

from xai_sweep.core.columns import Column


def test_a_column_is_known_by_what_it_declares() -> None:
    column = Column("rmse", "Root mean squared difference.", better="lower")
    assert column == Column("rmse", "Root mean squared difference.", "float64", "lower")
    assert len({column, Column("rmse", "Root mean squared difference.", "int32", "lower")}) == 2
    with pytest.raises(FrozenInstanceError):
        column.name = "mse"  # type: ignore[misc]
