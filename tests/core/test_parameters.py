"""What a parameter takes by its type, and the line that says what it does not take."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Optional

import numpy as np
import pytest
from annotated_types import Ge, Gt, Interval, Le, Lt, MultipleOf

from xai_sweep.core.errors import InputError
from xai_sweep.core.parameters import Declared, checked, in_words, parameter_types

Share = Annotated[float, Gt(0), Lt(1)]
Count = Annotated[int, Ge(1)]
Level = Annotated[float, Interval(ge=0, le=1)]
Reduction = Literal["sum", "absolute_max"]
QUOTES = '; a name that looks like a number needs quotes in a yaml file: "2024_05"'


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        (int, 3, 3),
        (int, -(10**30), -(10**30)),
        (float, 0.5, 0.5),
        (float, 3, 3.0),
        (bool, True, True),
        (str, "text", "text"),
        (Share, 0.05, 0.05),
        (Count, 1, 1),
        (Level, 0, 0.0),
        (Level, 1, 1.0),
        (Reduction, "sum", "sum"),
        (Literal[1, 2], 2, 2),
        (str | None, None, None),
        (Optional[str], "layer", "layer"),  # noqa: UP045  # both spellings are a union
        (Annotated[int | None, Ge(1)], None, None),
        (Annotated[int | None, Ge(1)], 1, 1),
        (Count | None, None, None),
        (Literal["auto"] | Count, "auto", "auto"),
        (Literal["auto"] | Count, 4, 4),
        (int | float, 3, 3),
        (float | str, "3", "3"),
        (list[int], (1, 2), [1, 2]),
        (tuple[float, ...], [1, 0.5], (1.0, 0.5)),
        (tuple[float, ...], [], ()),
        (list[Count | None], [1, None], [1, None]),
        (Any, {"a": 1}, {"a": 1}),
        (Sequence[float], [1, 0.5], (1.0, 0.5)),
        (str | Sequence[str] | None, ["a", "b"], ("a", "b")),
        (dict[str, int], "anything", "anything"),
        (Path | None, Path("a"), Path("a")),
    ],
)
def test_a_value_of_the_type_is_accepted_and_converted(
    annotation: Any, given: object, expected: object
) -> None:
    found = checked("key", given, annotation)
    assert found == expected
    assert type(found) is type(expected)


def test_the_parts_of_a_list_are_converted_too() -> None:
    assert [type(each) for each in checked("key", [1, 2.0], tuple[float, ...])] == [float, float]


@pytest.mark.parametrize(
    ("annotation", "given", "message"),
    [
        (int, 1.0, "key=1.0: must be a whole number"),
        (int, "1", "key=1: must be a whole number"),
        (int, True, "key=true: must be a whole number"),
        (int, None, "key=null: must be a whole number"),
        (float, True, "key=true: must be a number"),
        (float, "0.5", "key=0.5: must be a number"),
        (float, float("nan"), "key=nan: must be a number"),
        (float, float("inf"), "key=inf: must be a number"),
        (float, -float("inf"), "key=-inf: must be a number"),
        (float, 10**310, f"key={10**310}: must be a number"),
        (bool, 1, "key=1: must be true or false"),
        (bool, "yes", "key=yes: must be true or false"),
        (bool, None, "key=null: must be true or false"),
        (str, None, "key=null: must be text"),
        (str, True, f"key=true: must be text{QUOTES}"),
        (str, 2024, f"key=2024: must be text{QUOTES}"),
        (str, "", "key=: must be text"),
        (str, ["a"], "key=['a']: must be text"),
        (Count, 0, "key=0: must be a whole number of at least 1"),
        (Share, 0, "key=0: must be a number above 0 and below 1"),
        (Share, 1, "key=1: must be a number above 0 and below 1"),
        (Level, 1.1, "key=1.1: must be a number of at least 0 and of at most 1"),
        (Annotated[float, Le(5)], 6, "key=6: must be a number of at most 5"),
        (Annotated[float, Lt(5)], 5, "key=5: must be a number below 5"),
        (Reduction, "mean", "key=mean: must be one of sum, absolute_max"),
        (Reduction, None, "key=null: must be one of sum, absolute_max"),
        (Literal[1, 2], 3, "key=3: must be one of 1, 2"),
        (Literal[1, 2], True, "key=true: must be one of 1, 2"),
        (Literal[1, 2], 1.0, "key=1.0: must be one of 1, 2"),
        (str | None, False, f"key=false: must be text or null{QUOTES}"),
        (Count | None, 0, "key=0: must be a whole number of at least 1 or null"),
        (
            Annotated[int | None, Ge(1)],
            0,
            "key=0: must be a whole number of at least 1 or null",
        ),
        (
            Reduction | Count | None,
            0,
            "key=0: must be one of sum, absolute_max or a whole number of at least 1 or null",
        ),
        (list[int], 1, "key=1: must be a list, each a whole number"),
        (list[int], [1, 0.5], "key=[1, 0.5]: must be a list, each a whole number"),
        (list[int], "12", "key=12: must be a list, each a whole number"),
        (list[Share], [0.5, 1], "key=[0.5, 1]: must be a list, each a number above 0 and below 1"),
        (
            list[Count | None],
            [0],
            "key=[0]: must be a list, each a whole number of at least 1 or null",
        ),
        (
            tuple[Reduction, ...],
            ["sum", "mean"],
            "key=['sum', 'mean']: must be a list, each one of sum, absolute_max",
        ),
    ],
)
def test_any_other_value_is_refused_in_one_line(
    annotation: Any, given: object, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        checked("key", given, annotation)
    assert str(caught.value) == message
    assert message.removesuffix(QUOTES).endswith(f": must be {in_words(annotation)}")


def test_numpy_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="must be a whole number"):
        checked("key", np.int64(1), int)


def test_an_unknown_kind_of_bound_is_an_error_of_the_author() -> None:
    with pytest.raises(TypeError, match=r"MultipleOf.* is not a bound"):
        checked("key", 3, Annotated[int, MultipleOf(2)])


@dataclass(frozen=True)
class Method(Declared):
    group: ClassVar[str] = "method"

    count: Count
    share: Share = 0.5
    reduction: Reduction = "sum"
    layer: str | None = None
    rules: Any = None
    made: int = field(init=False, default=0)


@dataclass(frozen=True)
class Special(Method):
    extra: Annotated[float, Ge(0)] = 1


def test_every_parameter_of_a_class_is_converted_and_checked() -> None:
    method = Special(3, layer="5", rules=[1], extra=2)
    assert (method.count, method.layer, method.rules, method.made) == (3, "5", [1], 0)
    assert type(method.extra) is float


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"count": 0}, "method.count=0: must be a whole number of at least 1"),
        ({"count": 1, "share": 1}, "method.share=1: must be a number above 0 and below 1"),
        ({"count": 1, "extra": -1}, "method.extra=-1: must be a number of at least 0"),
    ],
)
def test_a_class_names_its_group(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Special(**parameters)
    assert str(caught.value) == message


def test_a_class_without_a_group_names_the_parameter_alone() -> None:
    @dataclass(frozen=True)
    class Root(Declared):
        seed: int = 0

    with pytest.raises(InputError, match=r"^seed=null: must be a whole number$"):
        Root(seed=None)  # type: ignore[arg-type]


def test_types_are_those_of_the_class_and_its_bases() -> None:
    types = parameter_types(Special)
    assert types["count"] == Count
    assert types["extra"] == Annotated[float, Ge(0)]
    assert in_words(types["layer"]) == "text or null"
    assert in_words(types["rules"]) == ""
