"""Every transform in the yaml folder against what a transform must do."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from transform_checks import CHECKS, CONF, Declared, declared, works_on_a_gpu

YAMLS = sorted((CONF / "transform").glob("*.yaml"))
every_yaml = pytest.mark.parametrize("yaml", YAMLS, ids=lambda path: path.stem)


@every_yaml
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it(yaml: object, check: Callable[[Declared], None]) -> None:
    check(declared(yaml))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_transform_of_the_plugins_template(
    check: Callable[[Declared], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = Path(__file__).parents[2] / "examples" / "plugin"
    monkeypatch.syspath_prepend(plugin)
    check(declared(plugin / "my_package" / "conf" / "transform" / "slant.yaml"))
    for name in [name for name in sys.modules if name.split(".")[0] == "my_package"]:
        del sys.modules[name]


@pytest.mark.gpu
@every_yaml
def test_on_a_gpu(yaml: object) -> None:
    works_on_a_gpu(declared(yaml))
