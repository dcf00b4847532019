"""Which entries of the configuration are null explainers; without torch."""

import functools

from xai_sweep.core.paths import CONF

_TARGET = "_target_: xai_sweep.explainers.controls."


@functools.cache
def control_entries() -> tuple[str, ...]:
    """The names of all entries of the group ``explainer`` whose target is a null explainer."""
    files = sorted((CONF / "explainer").glob("*.yaml"))
    return tuple(
        file.stem
        for file in files
        if any(line.startswith(_TARGET) for line in file.read_text().splitlines())
    )


def is_control(explainer: str) -> bool:
    """Whether an explainer, as it is named in the rows with its parameters, is a null explainer."""
    return explainer.partition("(")[0] in control_entries()
