"""The entries of each group: yaml files of ours, of plugins, and of the user's own folder."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from xai_sweep.config import plugins
from xai_sweep.core.paths import CONF


def folders() -> tuple[Path, ...]:
    """Where configurations are looked for, in order: the first file of a name counts.

    While Hydra runs, its own search path, which also holds the user's own.
    """
    hydra = GlobalHydra.instance()
    if not hydra.is_initialized():
        return (CONF, *plugins.folders())
    searched = [each.path or "" for each in hydra.config_loader().get_search_path().get_path()]
    files = [each for each in searched if each and not each.startswith(("pkg:", "structured:"))]
    return tuple(dict.fromkeys(Path(each.removeprefix("file://")) for each in files))


def entries(group: str) -> list[str]:
    """The names that a group of the configuration takes; none if there is no such group."""
    return list(_entries(folders(), group)) if group else []


# A grid needs them at each of its points.
@cache
def _entries(where: tuple[Path, ...], group: str) -> tuple[str, ...]:
    return tuple(
        sorted({file.stem for folder in where for file in (folder / group).glob("*.yaml")})
    )


def newest_yaml() -> int:
    """When the last of the yaml files was written, in nanoseconds."""
    files = (file for folder in folders() for file in folder.rglob("*.yaml"))
    return max((file.stat().st_mtime_ns for file in files), default=0)


def inner_groups() -> tuple[str, ...]:
    """Groups inside of groups, as keys of the configuration: ``explainer.rules``."""
    return _inner_groups(folders())


@cache
def _inner_groups(where: tuple[Path, ...]) -> tuple[str, ...]:
    found = {
        f"{inner.parent.name}.{inner.name}"
        for folder in where
        for inner in folder.glob("*/*/")
        if inner.parent.name != "hydra"
    }
    return tuple(sorted(found))


def written(entry: str) -> Mapping[str, Any]:
    """What an entry's yaml says, interpolations as they are; `entry` is ``explainer/lrp``.

    Raises:
        FileNotFoundError: there is no such entry.
    """
    for folder in folders():
        path = folder / f"{entry}.yaml"
        if _is_file(path):
            return _loaded(path)
    raise FileNotFoundError(2, "no such entry", f"{entry}.yaml")


def complete(entry: str, choices: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """What an entry's yaml says together with the entries that it is made of.

    Args:
        entry: for example ``explainer/lrp``.
        choices: the chosen entry of each group inside it (``explainer/rules``).

    Returns:
        The values, and of the groups inside it those whose choice is not the usual one.
    """
    group = entry.rpartition("/")[0]
    own = dict(written(entry))
    values: dict[str, Any] = {}
    changed: dict[str, str] = {}
    for default in own.pop("defaults", []):
        if default == "_self_":
            values, own = values | own, {}
        elif isinstance(default, str):  # another entry of the same group
            base, of_base = complete(f"{group}/{default}", choices)
            values, changed = values | base, changed | of_base
        else:
            for key, usual in default.items():
                name = key.removeprefix("override ").removeprefix("optional ")
                chosen = choices.get(f"{group}/{name}", usual)
                if _is_there(inner := f"{group}/{name}/{chosen}"):
                    values |= written(inner)
                    changed[name] = chosen
                    if chosen == usual:
                        del changed[name]
    return values | own, changed


def _is_there(entry: str) -> bool:
    return any(_is_file(folder / f"{entry}.yaml") for folder in folders())


@cache
def _is_file(path: Path) -> bool:
    return path.is_file()


@cache
def _loaded(path: Path) -> Mapping[str, Any]:
    # Reading it takes longer than all other work of naming a curve, and a job may name hundreds.
    loaded = OmegaConf.to_container(OmegaConf.load(path))
    return MappingProxyType(cast(dict[str, Any], loaded))


def node(group: str, name: str) -> DictConfig:
    """One entry of a group as a configuration of its own, under the entry's full key.

    For entries without defaults, which are complete in themselves.
    """
    content = dict(written(f"{group}/{name}"))
    content = content.get(name, content)  # an entry of a list group is below its own name
    root = OmegaConf.create({group: {name: content}})
    return cast(DictConfig, root[group][name])
