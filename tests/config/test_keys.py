"""Every root key says once what it decides; all lists of keys follow from that."""

import pytest
from omegaconf import OmegaConf

from xai_sweep.config.cells import NUMBERS, OF_A_FIT
from xai_sweep.config.keys import (
    OF_A_CURVE,
    SAME_CASES,
    SAME_NETWORK,
    Decides,
    Entries,
    Root,
    add_schema,
    check,
    check_sweep,
    groups,
    keys,
    values,
)
from xai_sweep.config.points import composed
from xai_sweep.core.errors import InputError
from xai_sweep.core.parameters import parameter_types
from xai_sweep.sweep.packing import SWEEP_KEYS


def test_every_key_decides_one_thing() -> None:
    found = [key for decides in Decides for key in keys(decides)]
    assert sorted(found) == sorted(parameter_types(Root))
    assert len(set(found)) == len(found)


def test_the_levels_are_those_that_the_design_needs() -> None:
    assert set(keys(*SAME_CASES)) == {
        *("magnitude", "transform", "metric", "target", "region", "region_of", "draws"),
    }
    assert set(keys(*SAME_NETWORK)) - set(keys(*SAME_CASES)) == {
        *("explainer", "data", "seed", "ranks"),
    }
    assert keys(Decides.JOB) == ("model",)
    assert set(keys(*OF_A_CURVE)) == {
        *("model", "explainer", "data", "transform"),
        *("seed", "ranks", "target", "region", "region_of", "draws"),
    }
    assert {"results", "plugins", "on_error", "cells_per_job", "pack"} == SWEEP_KEYS
    assert set(OF_A_FIT) == {"model", "explainer", "data", "weights", "numbers"}
    assert groups(*Decides, entries=Entries.SEVERAL) == ("metric",)
    assert not {*groups(*Decides)} & {*values(*Decides)}
    assert NUMBERS == 3


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("ranks", 0, "must be a whole number of at least 1"),
        ("draws", 0, "must be a whole number of at least 1"),
        ("strips", -1, "must be a whole number of at least 0"),
        ("seed", -1, "must be a whole number of at least 0 and below 9223372036854775808"),
        ("seed", 2**63, "must be a whole number of at least 0 and below 9223372036854775808"),
        ("lease_seconds", 0.5, "must be a number of at least 1"),
        ("target", "both", "must be one of class, rank"),
        ("region_of", "abc", "must be one of own, all or a number or a list, each a number"),
        ("batch_size", 0, "must be auto or a whole number of at least 1"),
        ("batch_size", True, "must be auto or a whole number of at least 1"),
        ("workers", "some", "must be auto or a whole number of at least 0"),
        ("cells_per_job", 1.5, "must be a whole number of at least 1 or null"),
        ("plugins", "my_package", "must be a list, each text"),
    ],
)
def test_a_value_that_is_not_as_declared(key: str, value: object, allowed: str) -> None:
    add_schema()
    cfg = composed([])
    check(cfg)
    OmegaConf.update(cfg, key, value)
    with pytest.raises(InputError) as caught:
        check(cfg)
    spelled = str(value).lower() if isinstance(value, bool) else value
    assert str(caught.value) == f"{key}={spelled}: {allowed}"
    if key in SWEEP_KEYS:
        with pytest.raises(InputError, match=f"{key}="):
            check_sweep(cfg)
