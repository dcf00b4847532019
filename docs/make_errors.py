"""Writes docs/errors.md from the code, every error text and when it appears."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "errors.md"
PACKAGES = ("xai_sweep", "hydra_plugins")
# How many arguments before the text say where it belongs: InputError(key, value, text).
ERRORS = {
    "InputError": 2,
    **dict.fromkeys(("ImageError", "SomeFailedError", "JobDiedError", "ProcessDiedError"), 0),
    "MissingExtraError": 0,
}
# Texts that a name may stand for; more are left as a placeholder.
_MOST = 12
HEAD = """# Every error, and what to do

Each line is what stands behind `error:` on the terminal, in the row of an image, or in the table of
what failed. `<name>` is a value. Before the first colon stands the key to change, behind it what is
allowed or what to do, and in italics when it appears. Input that cannot be used ends with exit code
2, a sweep of which parts failed with 1.

Written by `make docs-errors` from the code; do not edit.
"""


@dataclass(frozen=True)
class Text:
    """An error text.

    Attributes:
        key: what it begins with, `model.path=<path>`; empty for an image or a whole sweep.
        text: the rest, with placeholders.
        when: when it appears.
        file: where it is in the code.
    """

    key: str
    text: str
    when: str
    file: str


@dataclass(frozen=True)
class Known:
    """Where every function is called, and where those that are no methods are defined; by name."""

    calls: dict[str, list[tuple["Code", ast.Call]]] = field(default_factory=dict)
    functions: dict[str, tuple["Code", ast.FunctionDef]] = field(default_factory=dict)


class Code:
    """One file of code, among others whose calls give its functions their arguments."""

    def __init__(self, path: Path, known: "Known") -> None:
        self.file = str(path.relative_to(ROOT))
        self.source = path.read_text()
        self.tree = ast.parse(self.source)
        self.parents = {
            child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)
        }
        self.calls = [node for node in self.parents if isinstance(node, ast.Call)]
        self.known = known
        for call in self.calls:
            known.calls.setdefault(_called(call), []).append((self, call))
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef):
                known.functions[node.name] = self, node

    def texts(self) -> Iterator[Text]:
        """The texts of every error that is made here."""
        for call in self.calls:
            before = ERRORS.get(_called(call))
            if before is None or len(call.args) <= before or _is_forwarded(call.args[before]):
                continue
            keys = self.spelled(call.args[0], call) if before else [""]
            value = f"={_value(call.args[1])}" if before else ""
            texts = dict.fromkeys(self.spelled(call.args[before], call))
            for text in (each for each in texts if each not in ("", "<allowed>")):
                words = " ".join(text.split())
                yield Text(f"{keys[0]}{value}", words, self._when(call), self.file)

    def spelled(self, node: ast.expr, at: ast.AST, depth: int = 0) -> list[str]:
        """What an expression may be, values as placeholders."""
        match node:
            case ast.Constant(value=value):
                return ["null" if value is None else str(value)]
            case ast.JoinedStr(values=values):
                return _together([self.spelled(each, at, depth) for each in values])
            case ast.FormattedValue(value=value) if not isinstance(value, ast.BinOp):
                return self.spelled(value, at, depth)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return _together([self.spelled(each, at, depth) for each in (left, right)])
            case ast.IfExp(body=body, orelse=orelse):
                return [*self.spelled(body, at, depth), *self.spelled(orelse, at, depth)]
            case ast.Call(
                func=ast.Attribute(value=ast.Constant(value=" "), attr="join"), args=[inner]
            ):
                return self.spelled(inner, at, depth)  # " ".join(why.split())
            case ast.Call(func=ast.Attribute(value=ast.Name() as inner, attr="split")):
                return self.spelled(inner, at, depth)
            case ast.Name(id=name) if depth < 5:
                return self._of(self._values(name, at), depth) or [f"<{_placeholder(node)}>"]
            case ast.Call(func=ast.Name(id=name)) if depth < 5 and name in self.known.functions:
                code, function = self.known.functions[name]
                made = [each for each in ast.walk(function) if isinstance(each, ast.Return)]
                values = [(code, each.value, each) for each in made if each.value is not None]
                if function.returns is not None and ast.unparse(function.returns) == "str":
                    return self._of(values, depth) or [f"<{_placeholder(node)}>"]
        return [f"<{_placeholder(node)}>"]

    def _of(self, values: Iterable[tuple["Code", ast.expr, ast.AST]], depth: int) -> list[str]:
        """What values may be; those that are nothing but a placeholder are left out."""
        found = [
            text
            for code, value, where in values
            for text in code.spelled(value, where, depth + 1)
            if not re.fullmatch(r"<\w*>", text)
        ]
        return found[:_MOST]

    def _values(self, name: str, at: ast.AST) -> Iterator[tuple["Code", ast.expr, ast.AST]]:
        """What a name stands for: assigned in the function around, given to it, or global."""
        function = self._function(at)
        if function is not None:
            found = [*self._assigned_before(name, function, at)]
            if found or name in _names(function):
                yield from found or self._given(name, function)
                return
        for value in _assigned(name, self.tree.body):
            yield self, value, self.tree

    def _assigned_before(
        self, name: str, function: ast.FunctionDef, at: ast.AST
    ) -> Iterator[tuple["Code", ast.expr, ast.AST]]:
        """From the last one upwards, to the first that is made in any case."""
        around = {at, *self._around(at)}
        line = getattr(at, "lineno", 0)
        nodes = [node for node in ast.walk(function) if getattr(node, "lineno", line + 1) <= line]
        for node in sorted(nodes, key=lambda each: each.lineno, reverse=True):  # type: ignore[attr-defined]
            for value in _assigned(name, [node]):
                yield self, value, value
                if self.parents[node] in around:
                    return

    def _given(
        self, name: str, function: ast.FunctionDef
    ) -> Iterator[tuple["Code", ast.expr, ast.AST]]:
        names = _names(function)
        at = names.index(name)
        owner = self.parents[function]
        # A method of the same name of another class is not meant.
        word = owner.name if isinstance(owner, ast.ClassDef) else ""
        found = self.known.calls.get(function.name, [])
        for code, call in (each for each in found if word in each[0].source):
            for value in call.args[at : at + 1]:
                yield code, value, call
            for each in call.keywords:
                if each.arg == name:
                    yield code, each.value, call

    def _around(self, node: ast.AST) -> Iterator[ast.AST]:
        while node in self.parents:
            node = self.parents[node]
            yield node

    def _function(self, node: ast.AST) -> ast.FunctionDef | None:
        around = [node, *self._around(node)]
        return next((each for each in around if isinstance(each, ast.FunctionDef)), None)

    def _when(self, at: ast.AST) -> str:
        """What the docstrings around it say of errors, or else of what is done there."""
        documented = ast.FunctionDef | ast.ClassDef | ast.Module
        around = [each for each in self._around(at) if isinstance(each, documented)]
        docs = [" ".join((ast.get_docstring(each) or "").split()) for each in around]
        for doc in docs:
            if raised := re.search(r"InputError: (.*?)(?=\s\w*Error: |$)", doc):
                return raised[1].rstrip(".")
        first = next((doc for doc in docs if doc), "")
        return re.split(r"(?<=[a-z)`])\.(?:\s|$)", first)[0].rstrip(".")


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _value(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return "null" if node.value is None else str(node.value)
    return f"<{_placeholder(node)}>"


def _is_forwarded(node: ast.expr) -> bool:
    """Whether it is the text of another error."""
    return isinstance(node, ast.Attribute) and node.attr in ("allowed", "message")


def _names(function: ast.FunctionDef) -> list[str]:
    return [each.arg for each in function.args.args if each.arg not in ("self", "cls")]


def _together(parts: list[list[str]]) -> list[str]:
    return ["".join(each) for each in product(*parts)][:_MOST]


def _assigned(name: str, nodes: Iterable[ast.AST]) -> Iterator[ast.expr]:
    for node in nodes:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = [*zip(target.elts, node.value.elts, strict=True)]
                yield from (
                    value for each, value in pairs if isinstance(each, ast.Name) and each.id == name
                )


def _placeholder(node: ast.AST) -> str:
    """The last name in an expression."""
    match node:
        case ast.Name(id=name):
            return name.strip("_").lower()
        case ast.Attribute(attr=name):
            return name.strip("_")
        case ast.Call(args=[first, *_]):
            return _placeholder(first)
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return _placeholder(inner)
    names = [each for each in ast.walk(node) if isinstance(each, ast.Name)]
    return _placeholder(names[0]) if names else "value"


def texts() -> list[Text]:
    """Every error text of the code, sorted."""
    known = Known()
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    codes = [Code(file, known) for file in sorted(files)]
    found = dict.fromkeys(text for code in codes for text in code.texts())
    return sorted(found, key=lambda each: (each.key, each.text, each.file))


def page() -> str:
    """The reference."""
    sections: dict[str, list[str]] = {}
    for each in texts():
        head = re.split(r"[.=/]", each.key)[0] or "An image, or a sweep"
        head = "Any key" if head.startswith("<") else head
        line = f"{each.key}: {each.text}" if each.key else each.text
        line = line.replace("`", "'")
        sections.setdefault(head, []).append(f"- `{line}`<br>*{each.when}* ({each.file})")
    parts = [f"## {name}\n\n" + "\n".join(lines) for name, lines in sorted(sections.items())]
    return HEAD + "\n" + "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"{PAGE}: {len(texts())} texts")
