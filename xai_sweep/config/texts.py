"""Values of keys that are declared as text stay as they are typed: ``results=2024_05_17``.

Hydra reads 2024_05_17 as the number 20240517, 0.10 as 0.1 and [a] as a list. Such values are quoted
before Hydra sees them, wherever a class or `xai_sweep.config.keys` declares text.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args, get_origin

from antlr4 import CommonTokenStream, InputStream, Token
from hydra.conf import HydraConf
from hydra.core.override_parser.types import OverrideType
from hydra.grammar.gen.OverrideLexer import OverrideLexer
from omegaconf import OmegaConf

from xai_sweep.config import building, entries
from xai_sweep.config.keys import Decides, Entries, declared_type, groups, values
from xai_sweep.config.quoting import parsed, quoted
from xai_sweep.core.errors import InputError
from xai_sweep.core.parameters import options, parameter_types

# What Hydra makes of a token that is a value by itself.
_LITERALS: Mapping[int, tuple[type, ...]] = {
    OverrideLexer.INT: (int, float),
    OverrideLexer.FLOAT: (float,),
    OverrideLexer.BOOL: (bool,),
}
_OPENING = (OverrideLexer.BRACKET_OPEN, OverrideLexer.BRACE_OPEN, OverrideLexer.POPEN)
_CLOSING = (OverrideLexer.BRACKET_CLOSE, OverrideLexer.BRACE_CLOSE, OverrideLexer.PCLOSE)


def kept(words: Iterable[str]) -> list[str]:
    """The words of a command line, with quotes where Hydra would not read text as text."""
    where = entries.folders()
    return [_kept(word, where) for word in words]


# Points of a grid, and plans of it, have the same words again and again.
@lru_cache(maxsize=65536)
def _kept(word: str, where: tuple[Path, ...]) -> str:
    """The word; `where` are the folders of yaml files that it is about."""
    override = parsed(word)
    if override is None or override.type == OverrideType.DEL or override.package is not None:
        return word
    before, _, value = word.partition("=")
    tokens = _tokens(value)
    odd = any(token.type in (*_LITERALS, *_OPENING) for token in tokens)
    is_edged = value != value.strip() and len(_parts(tokens)) == 1
    if not (odd or is_edged):
        return word
    declared = _declared(override.key_or_group)
    if not _mentions_text(declared):
        return word
    is_quoted = bool(tokens) and tokens[0].type == OverrideLexer.QUOTED_VALUE
    if is_edged and _takes(declared, str) and not is_quoted:
        return f"{before}={quoted(value)}"
    return f"{before}={_spelled(tokens, declared)}"


def _tokens(value: str) -> list[Any]:
    lexer = OverrideLexer(InputStream(f"_={value}"))
    stream = CommonTokenStream(lexer)
    stream.fill()
    return [token for token in stream.tokens[2:] if token.type != Token.EOF]


def _parts(tokens: Sequence[Any]) -> list[list[Any]]:
    """What commas outside of brackets separate."""
    parts: list[list[Any]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.type in _OPENING) - (token.type in _CLOSING)
        if token.type == OverrideLexer.COMMA and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _spelled(tokens: Sequence[Any], declared: Any) -> str:
    return ",".join(_element(part, declared) for part in _parts(tokens))


def _element(tokens: Sequence[Any], declared: Any) -> str:
    text = "".join(token.text for token in tokens)
    kinds = [token.type for token in tokens]
    as_text = quoted(text) if _takes(declared, str) else text
    if len(tokens) == 1 and kinds[0] in _LITERALS:
        known = any(_takes(declared, kind) for kind in _LITERALS[kinds[0]])
        return text if known else as_text
    if OverrideLexer.INTERPOLATION in kinds or not kinds:
        return text
    if kinds[0] == OverrideLexer.BRACKET_OPEN:
        inner = _inside_a_list(declared)
        return as_text if inner is None else f"[{_spelled(tokens[1:-1], inner)}]"
    if kinds[0] == OverrideLexer.BRACE_OPEN:
        return text if _takes(declared, Mapping) or _takes(declared, dict) else as_text
    if kinds[:2] == [OverrideLexer.ID, OverrideLexer.POPEN] and tokens[0].text == "choice":
        return f"choice({_spelled(tokens[2:-1], declared)})"
    return text


def _takes(declared: Any, kind: Any) -> bool:
    return any(each is kind or get_origin(each) is kind for each, _ in options(declared))


def _mentions_text(declared: Any) -> bool:
    return _takes(declared, str) or (
        declared is not None and _mentions_text(_inside_a_list(declared))
    )


def _inside_a_list(declared: Any) -> Any:
    """The declared type of a list's elements; None if no list is declared."""
    lists = [each for each, _ in options(declared) if get_origin(each) in (list, tuple, Sequence)]
    return get_args(lists[0])[0] if lists else None


def _declared(key: str) -> Any:
    """The declared type of a key, one that takes text if entries differ; None if none is known."""
    root, *inner = key.split(".")
    if not inner:
        return declared_type(root) if root in values(*Decides) else None
    if root == "hydra":
        return _in_hydra(inner)
    found = [*_in_entries(root, inner)]
    return next((each for each in found if _mentions_text(each)), None)


def _in_hydra(names: Sequence[str]) -> Any:
    kind: Any = HydraConf
    for name in names:
        kind = _parameter(kind, name)
    return kind


def _in_entries(group: str, names: Sequence[str]) -> Iterator[Any]:
    """The declared types of a parameter in all entries of a group that have it."""
    several = group in groups(*Decides, entries=Entries.SEVERAL)
    chosen, names = ([names[0]], names[1:]) if several else (entries.entries(group), names)
    if len(names) != 1:
        return
    for entry in chosen:
        with suppress(InputError, FileNotFoundError):
            usual, _ = entries.complete(f"{group}/{entry}", {})
            usual = usual[entry] if several else usual
            # What usually is a number is no text, and the class need not be imported to know.
            if _may_be_text(usual.get(names[0], 0)):
                node = OmegaConf.create({group: {"_target_": usual.get("_target_")}})[group]
                yield _parameter(building.target(node), names[0])


def _parameter(cls: Any, name: str) -> Any:
    is_known = isinstance(cls, type) and is_dataclass(cls)
    return parameter_types(cls).get(name) if is_known else None


def _may_be_text(usual: Any) -> bool:
    if isinstance(usual, list):
        return all(map(_may_be_text, usual))
    return usual is None or (isinstance(usual, str) and "${" not in usual)
