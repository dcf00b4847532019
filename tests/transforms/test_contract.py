"""Every transform in the yaml folder against what a transform must do."""

from collections.abc import Callable

import pytest
from transform_checks import CHECKS, CONF, Declared, declared, works_on_a_gpu

YAMLS = sorted((CONF / "transform").glob("*.yaml"))
every_yaml = pytest.mark.parametrize("yaml", YAMLS, ids=lambda path: path.stem)


@every_yaml
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it(yaml: object, check: Callable[[Declared], None]) -> None:
    check(declared(yaml))


@pytest.mark.gpu
@every_yaml
def test_on_a_gpu(yaml: object) -> None:
    works_on_a_gpu(declared(yaml))
