"""What failed is computed again under the command line that it had."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from xai_sweep.config.plugins import split
from xai_sweep.core.errors import InputError
from xai_sweep.store.failures import failures
from xai_sweep.sweep.packing import root


def check_retry(results: str, words: Iterable[str]) -> None:
    """Refuse what would make another point of a recorded one.

    Raises:
        InputError: there is no such folder, or a word that is not about how jobs are run.
    """
    if not Path(results).is_dir():
        raise InputError("results", results, "a results folder; there is no such folder")
    _, overrides = split(words)
    for word in overrides:
        if root(word) not in ("hydra", "plugins", "on_error", "cells_per_job"):
            key, _, value = word.partition("=")
            allowed = "a retry takes only how jobs run: hydra/launcher=..., on_error, cells_per_job"
            raise InputError(key, value, allowed)


def command_line(results: str, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command line of a retry, on which recorded points mean what they meant.

    Args:
        results: a results folder.
        words: of the user, which come first.

    Returns:
        Options of Hydra, and overrides.

    Raises:
        InputError: the failures are of several configurations, and the words choose none.
    """
    options, overrides = split(words)
    failed = failures(results)
    if not any(root(word) == "plugins" for word in overrides):
        names = dict.fromkeys(name for each in failed for name in each.plugins)
        overrides += [f"plugins=[{','.join(names)}]"] if names else []
    chosen = {each.options for each in failed}
    if options:
        return [f"--{name}={value}" for name, value in options.items()], overrides
    if len(chosen) > 1:
        allowed = "holds failures of several configurations; choose one with --config-name"
        raise InputError("results", results, allowed)
    return [word for one in chosen for word in one], overrides
