"""From a node of the configuration to the object that it describes."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from xai_sweep.config import entries, plugins
from xai_sweep.core.errors import InputError, unknown_key
from xai_sweep.core.parameters import checked, execution_only, files_named, parameter_types


def build(node: DictConfig, *, without: str = "", **extra: Any) -> Any:
    """The object that a node describes, its parameters converted to their declared types.

    Text for a parameter whose type has a group, such as ``distance: Distance``, is the name of an
    entry of that group.

    Args:
        node: with `_target_`, the path of a class.
        without: a key that is no parameter of the class.
        extra: more parameters.

    Raises:
        InputError: there is no such class, it belongs neither to us nor to a plugin, or a
            parameter is unknown or not as declared; under its full key.
    """
    cls = target(node)
    if isinstance(cls, type) and is_dataclass(cls):
        return cls(**_parameters(node, cls, without), **extra)
    try:
        # Not recursive: code is called by a name in our own parameters and nowhere below.
        return instantiate(node, **extra, _recursive_=False, _convert_="all")
    except InstantiationException as error:
        # Hydra wraps what a constructor raises.
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from None
        raise


def built_metrics(nodes: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics that plain values describe, by the name of their entry.

    Raises:
        InputError: see `build`.
    """
    root = OmegaConf.create({"metric": dict(nodes)})
    return {str(name): build(node) for name, node in root.metric.items()}


def target(node: DictConfig) -> Any:
    """The class that a node names.

    Raises:
        InputError: there is none, or it belongs neither to us nor to a plugin.
    """
    root = node._get_root()
    if isinstance(root, DictConfig) and root is not node:
        # A process that was started for a part of a job has no active plugins yet.
        plugins.activate(root.get(plugins.KEY) or ())
    return _class(str(node.get("_target_")), node._get_full_key("_target_"))


def _class(path: str, key: str) -> Any:
    if not path.startswith(plugins.trusted()):
        allowed = f"must begin with {' or '.join(plugins.trusted())}; plugins=[...] adds others"
        raise InputError(key, path, allowed)
    try:
        return _imported(path)
    except Exception as error:  # whatever a module of the user does
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(
            key, path, f"there is no such class ({why}); must be module.Class"
        ) from error


@cache
def _imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def deciding(group: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A group's configuration, plain values, without parameters that change no number.

    Raises:
        InputError: see `target`.
    """
    cls = _class(str(values.get("_target_")), f"{group}._target_")
    return {name: value for name, value in values.items() if name not in execution_only(cls)}


def files(group: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Which of a group's parameters name a file, and what `identity()` calls its content.

    Raises:
        InputError: see `target`.
    """
    return files_named(_class(str(values.get("_target_")), f"{group}._target_"), values)


def plain(cfg: DictConfig) -> dict[str, Any]:
    """A configuration as plain values, interpolations resolved."""
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))


def _parameters(node: DictConfig, cls: type, without: str) -> dict[str, Any]:
    types = _types(cls)
    found: dict[str, Any] = {}
    for name, value in plain(node).items():
        if name in ("_target_", without):
            continue
        key = node._get_full_key(name)
        if name not in types:
            raise unknown_key(key, value, types)
        found[name] = _parameter(node, name, key, value, types[name])
    return found


@cache
def _types(cls: type) -> Mapping[str, Any]:
    known = parameter_types(cls)
    return {each.name: known[each.name] for each in fields(cls) if each.init}


def _parameter(node: DictConfig, name: str, key: str, value: Any, annotation: Any) -> Any:
    kind = _class_with_group(annotation)
    if kind is None:
        return checked(key, value, annotation)
    if isinstance(value, dict):
        return build(node[name])
    if not isinstance(value, str):
        return value
    choices = [each for each in entries.entries(kind.group) if _is_one(kind, each)]
    if value not in choices:
        raise InputError(key, value, f"must be one of {', '.join(choices)}")
    return build(entries.node(kind.group, value))


def _class_with_group(annotation: Any) -> Any:
    """The class in a declared type that entries of a group describe, if there is one."""
    found = [kind for kind in _kinds(annotation) if isinstance(getattr(kind, "group", None), str)]
    return next((kind for kind in found if kind.group), None)


def _kinds(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif isinstance(annotation, UnionType) or get_origin(annotation) is Union:
        for each in get_args(annotation):
            yield from _kinds(each)
    else:
        yield annotation


def _is_one(kind: type, entry: str) -> bool:
    """Whether an entry of the group is of a class; a metric need not be a distance."""
    cls = target(entries.node(kind.group, entry))  # type: ignore[attr-defined]
    return isinstance(cls, type) and issubclass(cls, kind)
