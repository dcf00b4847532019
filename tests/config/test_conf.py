"""The yaml folder is the registry: everything in it works, and nothing is missing from it."""

import importlib
import inspect
import pkgutil
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

import xai_sweep
from xai_sweep.config.building import build, plain
from xai_sweep.config.keys import Decides, add_schema, check, groups, values
from xai_sweep.core.paths import CONF
from xai_sweep.data import ImageSet
from xai_sweep.explainers import Explainer
from xai_sweep.metrics import Metric
from xai_sweep.models import ModelSource
from xai_sweep.sweep.requests import changed
from xai_sweep.tracking import Logger
from xai_sweep.transforms import Transform

FILES = sorted(CONF.rglob("*.yaml"))
OURS = [file for file in FILES if file.parent != CONF and "hydra" not in file.parts]


def config(*overrides: str) -> DictConfig:
    add_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def entries(node: DictConfig) -> list[DictConfig]:
    """The entry itself, or each of the entries of a list group such as `metric`."""
    return [node] if "_target_" in node else list(node.values())


def named(path: Path) -> str:
    return f"{path.parent.relative_to(CONF)}={path.stem}"


@pytest.mark.parametrize("path", OURS, ids=named)
def test_composes_resolves_and_instantiates(path: Path) -> None:
    group = path.parent.name
    cfg = config(f"metric=[{path.stem}]" if group == "metric" else named(path))
    check(cfg)
    assert plain(cfg)
    for name in groups(*Decides):
        for node in entries(cfg[name]) if name not in ("magnitude", "transform") else []:
            # There need be no GPU here.
            extra = {"logger": False, "accelerator": "cpu"} if name == "trainer" else {}
            assert build(node, **extra) is not None
    transform, magnitudes = changed(cfg.transform)
    assert isinstance(transform, Transform)
    assert magnitudes


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_says_in_its_first_lines_what_it_is(path: Path) -> None:
    lines = path.read_text().splitlines()
    first = lines[1] if lines[0].startswith("# @package ") else lines[0]
    assert first.startswith("# ")
    assert len(first) > 10


@pytest.mark.parametrize("path", OURS, ids=named)
def test_keys_are_the_fields_of_the_class(path: Path) -> None:
    if path.parent.name in ("experiment", "magnitude", "trainer", "rules"):
        return
    node = OmegaConf.load(path)
    assert isinstance(node, DictConfig)
    for entry in entries(node):
        cls = imported(entry._target_)
        inner = [
            name for default in entry.get("defaults", []) if default != "_self_" for name in default
        ]
        keys = ({str(key) for key in entry} | set(inner)) - {"_target_", "defaults"}
        if path.parent.name == "transform":  # the magnitudes stand beside its own parameters
            keys -= {cls.parameter.name}
        if path.parent.name == "metric":
            assert list(node) == [path.stem]
            assert keys <= {field.name for field in fields(cls) if field.init}
        else:
            assert is_dataclass(cls)
            assert keys == {field.name for field in fields(cls) if field.init}


def imported(name: str) -> type:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("base", [Explainer, Transform, Metric, ImageSet, ModelSource, Logger])
def test_every_class_has_a_yaml(base: type) -> None:
    for module in pkgutil.walk_packages(xai_sweep.__path__, "xai_sweep."):
        importlib.import_module(module.name)
    named_in_yaml = {
        imported(entry._target_)
        for path in OURS
        if path.parent.name not in ("experiment", "magnitude", "trainer", "rules")
        for entry in entries(OmegaConf.load(path))  # type: ignore[arg-type]
    }
    found = [
        cls
        for cls in descendants(base)
        if not inspect.isabstract(cls) and cls.__module__.startswith("xai_sweep.")
    ]
    assert found
    assert [cls for cls in found if cls not in named_in_yaml] == []


def descendants(base: type) -> list[type]:
    return [cls for child in base.__subclasses__() for cls in [child, *descendants(child)]]


def test_the_schema_and_the_root_have_the_same_keys() -> None:
    root = OmegaConf.load(CONF / "config.yaml")
    assert isinstance(root, DictConfig)
    folders = {path.parent.name for path in OURS} - {"experiment", "rules"}
    assert set(groups(*Decides)) == folders
    assert set(values(*Decides)) == {str(key) for key in root} - {"defaults", "hydra"}


def test_a_title_of_every_entry_is_its_name(tmp_path: Path) -> None:
    from xai_sweep.config.cells import title

    for path in OURS:
        if path.parent.name in ("model", "explainer"):
            cfg = config(named(path))
            choices = {path.parent.name: path.stem}
            node = plain(cfg[path.parent.name])
            assert title(path.parent.name, choices, node) == path.stem
