"""What happens to the words of a sweep before Hydra reads them."""

from collections.abc import Sequence

from xai_sweep.config.controls import controls

MULTIRUN = ("-m", "--multirun")


def with_controls(words: Sequence[str]) -> list[str]:
    """``explainer=controls`` stands for all null explainers: a job each, so with ``-m``."""
    expanded = [_expanded(word) for word in words]
    several = expanded != list(words) and not set(MULTIRUN).intersection(words)
    return ["-m", *expanded] if several else expanded


def _expanded(word: str) -> str:
    key, _, value = word.partition("=")
    names = value.split(",")
    if key != "explainer" or "controls" not in names:
        return word
    spelled = [",".join(controls()) if name == "controls" else name for name in names]
    return f"{key}={','.join(spelled)}"


def multirun_first(words: Sequence[str]) -> list[str]:
    """``-m`` may stand anywhere; Hydra wants it in front."""
    rest = [word for word in words if word not in MULTIRUN]
    return ["-m", *rest] if len(rest) < len(words) else rest
