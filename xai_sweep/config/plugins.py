"""What adds entries: packages, ``plugins=[my_package]``, and folders of the user's own.

A plugin is an installed package, or a folder in the working directory, with a folder `conf` that
is laid out as ours is. While it is active Hydra finds its yaml files, and they may name the classes
of that package. A plugin is active only if the user names it, on the command line or in a
configuration of their own. Folders of yaml files alone are named by ``--config-dir`` and
``hydra.searchpath``; what is in them counts as our own entries do.

Imports neither torch nor Lightning. Plugins themselves are imported when one of their classes is
built, and not before.
"""

import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from xai_sweep.core.errors import InputError
from xai_sweep.core.paths import CONF

KEY = "plugins"
SEARCHPATH = "hydra.searchpath"
_ALLOWED = "must be a list of packages, e.g. plugins=[my_package]"
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class Plugin:
    """A package whose entries are known.

    Attributes:
        name: of the package, as it is imported.
        conf: its folder of yaml files.
    """

    name: str
    conf: Path


@dataclass
class _State:
    """What a command line named: of this process, as Hydra's own state is."""

    plugins: dict[str, Plugin] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()


_state = _State()


def active() -> tuple[Plugin, ...]:
    """The plugins that were named so far, in that order."""
    return tuple(_state.plugins.values())


def folders() -> tuple[Path, ...]:
    """Folders of yaml files beside ours: of each plugin, and the user's own."""
    return (*(plugin.conf for plugin in active()), *_state.folders)


def trusted() -> tuple[str, ...]:
    """What the path of a class may begin with."""
    return ("xai_sweep.", "pytorch_lightning.", *(f"{name}." for name in _state.plugins))


def activate(names: Iterable[str]) -> None:
    """Add plugins to those that are active.

    Raises:
        InputError: one of them cannot be imported, has no yaml files, or has an entry that exists
            already.
    """
    for name in names:
        if name not in _state.plugins:
            plugin = _found(name)
            _check_names(plugin.conf, KEY, name)
            _state.plugins[name] = plugin


def activate_from(words: Sequence[str]) -> None:
    """Make exactly those plugins and folders active that a command line names.

    It names plugins by ``plugins=[...]``, or else by that key in an experiment or in the
    configuration that ``--config-name`` chooses, and folders by ``--config-dir`` and
    ``hydra.searchpath``, which may stand in that configuration too.

    Args:
        words: of the command line, without the program's name.

    Raises:
        InputError: see `activate`; or there is no such folder.
    """
    options, overrides = split(words)
    _state.plugins.clear()
    _state.folders = ()
    parsed = [*_parsed(overrides)]
    primary = options.get("config-name", "config").removesuffix(".yaml")
    if "config-dir" in options:
        _add_folder("--config-dir", options["config-dir"])
    searched = [each.value() for each in parsed if each.key_or_group == SEARCHPATH]
    # Of several, the first counts to Hydra.
    for place in _texts(SEARCHPATH, [*searched, _value_in(primary, SEARCHPATH)][0]):
        _add_folder(SEARCHPATH, place)
    given = [each for each in parsed if each.key_or_group == KEY]
    if given:
        activate(_names(given[-1].value(), str(given[-1].get_value_element_as_str())))
        return
    chosen = [each for each in parsed if each.key_or_group == "experiment"]
    for file in [*(f"experiment/{name}" for each in chosen for name in _values(each)), primary]:
        named = _value_in(file, KEY)
        activate(() if named is None else _names(named, str(named)))


def _add_folder(key: str, place: str) -> None:
    """Make a folder of the user's own active; of a package as ``pkg://package.conf``."""
    scheme, _, name = place.rpartition("://")
    if scheme == "pkg":
        spec = _spec(name)
        folder = Path(next(iter((spec and spec.submodule_search_locations) or ()), name))
    else:
        folder = Path(name)
    folder = folder.absolute()
    if scheme not in ("", "file", "pkg") or not folder.is_dir():
        raise InputError(key, place, "must be a folder of yaml files; there is no such folder")
    if folder not in (CONF, *_state.folders):
        _check_names(folder, key, place)
        _state.folders = (*_state.folders, folder)


def split(words: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Hydra's options that say where configurations are, and the overrides of a command line."""
    names = {"-cd": "config-dir", "-cn": "config-name", "-cp": "config-path"}
    options: dict[str, str] = {}
    overrides: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("-"):
            overrides.append(word)
            continue
        option, given, value = word.partition("=")
        name = names.get(option, option.removeprefix("--"))
        if name in names.values():
            options[name] = value if given else left.pop(0) if left else ""
    return options, overrides


def _parsed(words: Iterable[str]) -> Iterator[Override]:
    """Overrides; those that Hydra will refuse are left out, because it explains them better."""
    parser = OverridesParser.create()
    for word in words:
        with suppress(OverrideParseException):
            yield from parser.parse_overrides([word])


def _values(override: Override) -> list[str]:
    """The values of an override, one or those of a sweep."""
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    return [override.get_value_element_as_str()]


def _value_in(file: str, key: str) -> Any:
    """What a configuration says of a key; None if it cannot be read, which Hydra will say."""
    for folder in (CONF, *folders()):
        path = folder / f"{file}.yaml"
        if path.is_file():
            try:
                found = OmegaConf.select(OmegaConf.load(path), key)
            except (OmegaConfBaseException, OSError, ValueError):
                return None
            return OmegaConf.to_container(found) if OmegaConf.is_config(found) else found
    return None


def _texts(key: str, value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        allowed = f"must be a list of folders, e.g. {key}=[file:///home/me/conf]"
        raise InputError(key, value, allowed)
    return [str(each) for each in value]


def _names(value: Any, spelled: str) -> list[str]:
    is_list = isinstance(value, list) and all(isinstance(name, str) for name in value)
    if not is_list or not all(_NAME.fullmatch(name) for name in value):
        raise InputError(KEY, spelled, _ALLOWED)
    return [str(name) for name in value]


def _found(name: str) -> Plugin:
    """Where a package is; of an installed one and a folder of the same name the installed one."""
    spec = _spec(name)
    if spec is None and (Path.cwd() / name.partition(".")[0]).is_dir():
        # The working directory is not on the path of an installed program.
        sys.path.append(str(Path.cwd()))
        importlib.invalidate_caches()
        spec = _spec(name)
    if spec is None:
        allowed = f"no such package is installed, and there is no such folder in {Path.cwd()}"
        raise InputError(KEY, name, f"{allowed}; install it, or run where it is")
    for place in spec.submodule_search_locations or ():
        conf = Path(place).absolute() / "conf"
        if next(_yaml(conf), None):
            return Plugin(name, conf)
    where = next(iter(spec.submodule_search_locations or ()), spec.origin)
    raise InputError(
        KEY, name, f"must have a folder conf with yaml files; there is none in {where}"
    )


def _spec(name: str) -> Any:
    try:
        return find_spec(name)
    except ModuleNotFoundError:
        return None
    except Exception as error:  # whatever the parent of a nested package does
        why = f"cannot be imported ({type(error).__name__}: {error}); must be importable"
        raise InputError(KEY, name, " ".join(why.split())) from error


def _yaml(conf: Path) -> Iterator[Path]:
    """The yaml files of a folder, relative to it."""
    return (path.relative_to(conf) for path in sorted(conf.rglob("*.yaml")))


def _check_names(added: Path, key: str, value: str) -> None:
    """Refuse a file that another folder has too: Hydra would take the other without a word."""
    others = {"xai_sweep": CONF, **{each.name: each.conf for each in active()}}
    others |= {str(folder): folder for folder in _state.folders}
    for path in _yaml(added):
        for name, conf in others.items():
            if (conf / path).is_file():
                allowed = f"{added / path} must have another name: {name} has it too"
                raise InputError(key, value, allowed)
