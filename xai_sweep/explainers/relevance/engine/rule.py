"""What a rule is: an equation, and where it may be used."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import ClassVar

from torch import Tensor

from xai_sweep.core.errors import InputError
from xai_sweep.core.parameters import Declared
from xai_sweep.explainers.relevance.engine.contributions import Shares, Site


@dataclass(frozen=True)
class InSums:
    """What a rule does at sums, pools and upsampling, which have no weights of their own.

    Attributes:
        evenly: in equal parts, by the fixed weights alone; otherwise in proportion to the terms.
        stabilizer: added to the denominator with its sign; evenly, there is none.
        relative: the stabiliser counts in units of the mean absolute value in the same image.
    """

    evenly: bool = False
    stabilizer: float = 0.0
    relative: bool = False


@dataclass(frozen=True)
class Rule(Declared, ABC):
    """A rule with its parameters, a frozen dataclass with declared types.

    Class attributes:
        name: as written in a list of rules.
        source: where it is defined.
        is_for_pixels: it gives relevance to an input whatever that is, also to one of 0.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    is_for_pixels: ClassVar[bool] = False
    group: ClassVar[str] = "rule"

    @abstractmethod
    def redistribute(self, relevance: Tensor, a: Tensor, site: Site) -> Shares:
        """The equation.

        Args:
            relevance: ``R_k``, shaped as the layer's output ``[B, ...]``.
            a: the layer's input ``[B, ...]``.
            site: the layer, with its contributions.
        """

    def in_sums(self) -> InSums:
        """What the rule does where there are no weights; in proportion unless overridden."""
        return InSums()

    def refusal(self, site: Site) -> str | None:
        """Why the rule cannot be applied here, as a clause for a message; None if it can."""
        return None

    def __str__(self) -> str:
        given = [
            f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"{self.name}({', '.join(given)})" if given else self.name


def rules() -> dict[str, type[Rule]]:
    """Every rule whose module has been imported, by its name.

    Raises:
        InputError: two rules have the same name.
    """
    found: dict[str, type[Rule]] = {}
    for rule in _subclasses(Rule):
        if "name" in vars(rule) and found.setdefault(rule.name, rule) is not rule:
            allowed = f"must be the name of one rule, and is that of {found[rule.name]} and {rule}"
            raise InputError("rule", rule.name, allowed)
    return found


def _subclasses(rule: type) -> Iterator[type[Rule]]:
    subclass: type[Rule]
    for subclass in rule.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
