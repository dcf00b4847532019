"""Error messages as one line, of ours, of Hydra and of OmegaConf."""

import re
import sys

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    OmegaConfBaseException,
    ValidationError,
)

from xai_sweep.config.entries import entries
from xai_sweep.config.keys import Decides, declared_type, keys
from xai_sweep.config.quoting import as_text, for_the_shell, parsed
from xai_sweep.core.errors import InputError, SomeFailedError, unknown_key
from xai_sweep.core.parameters import in_words
from xai_sweep.sweep.launching import EXTRAS, needs

# What a user can get wrong; anything else is a fault of the program.
USER_ERRORS = (InputError, HydraException, OmegaConfBaseException, OSError)


def one_line(error: Exception) -> str:
    """The message of an error of ours, Hydra's or OmegaConf's as one line."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, entry = error.missing_cfg_file.rpartition("/")
        if entry in EXTRAS:
            chosen = [word for word in sys.argv if word.startswith(f"{group}=")]
            return f"{chosen[-1] if chosen else group}: {needs(EXTRAS[entry])}"
        if names := entries(group):
            names += ["basic", "joblib"] if group == "hydra/launcher" else []
            return f"{group}={entry}: must be one of {', '.join(names)}"
    if isinstance(error, OverrideParseException):
        return _not_an_override(error.override)
    if isinstance(error, ConfigCompositionException):
        cause, value = error.__cause__, str(error).partition("\n")[0].partition("=")[2]
        if found := re.match(r"Ambiguous value for argument '(.*?)'\n1", str(error), re.DOTALL):
            return _grid_of_one_job(found[1])
        if found := re.match(r"Cannot find primary config '(.*?)'", str(error)):
            needed = "must be the name of a yaml file in the folder of --config-dir"
            return str(InputError("--config-name", found[1], needed))
        if (
            isinstance(cause, ConfigAttributeError | ConfigKeyError)
            and cause.parent_node is not None
        ):
            value = str(error).rpartition("=")[2]
            allowed = [str(key) for key in cause.parent_node if key not in ("_target_", "hydra")]
            return str(unknown_key(str(cause.full_key), value, allowed))
        if isinstance(cause, ValidationError) and cause.full_key in keys(*Decides):
            expected = in_words(declared_type(str(cause.full_key)))
            return str(InputError(str(cause.full_key), value, f"must be {expected}"))
    if (
        type(error) is ValueError
    ):  # transform=3: Hydra's message names neither the group nor its entries
        words = [word.partition("=") for word in sys.argv[1:]]
        for group, _, entry in words:
            if not group:
                return _not_an_override(f"={entry}")
            if entries(group) and not set(re.findall(r"\w+", entry)) <= {*entries(group)}:
                return f"{group}={entry}: must be one of {', '.join(entries(group))}"
    if isinstance(error, OmegaConfBaseException):
        if refused := _refused_inside(error):
            return str(refused)
        if missing := re.search(r"[Mm]issing mandatory value: (\S+)", str(error)):
            return str(InputError(missing[1], "???", "is needed"))
        text = str(error.msg or error).split("\n")[0]
        return f"{error.full_key}: {text}" if error.full_key else text
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    text = re.sub(r"\s*\n\s*", "; ", str(error).strip())
    cause = error.__cause__
    return f"{text} ({one_line(cause)})" if isinstance(cause, OmegaConfBaseException) else text


def _refused_inside(error: BaseException | None) -> InputError | None:
    """What a resolver of ours raised, of which OmegaConf makes an error of its own."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error


def _not_an_override(word: str) -> str:
    """For a word that Hydra cannot read: what is missing in it, or the quotes that it needs."""
    key, equals, value = word.partition("=")
    text = as_text(key, value)
    if key and equals and parsed(text) is not None:
        form = for_the_shell(text)
        return f"{word}: must be key=value; a value like this needs quotes: {form}"
    before = sys.argv[sys.argv.index(word) - 1] if word in sys.argv[2:] else ""
    key, equals, value = before.partition("=")
    if equals and "=" not in word:
        both = for_the_shell(as_text(key, f"{value} {word}"))
        return f"{word}: must be key=value; if it belongs to the word before it, quote both: {both}"
    return f"{word}: must be key=value; xai-sweep run --help lists the keys"


def _grid_of_one_job(word: str) -> str:
    key, _, value = word.partition("=")
    form = for_the_shell(as_text(key, value.replace('"', "")))
    return f"{word}: several values need -m; one value with a comma in it needs quotes: {form}"


def with_kind(error: Exception) -> str:
    """The one line, with the type of the error if it is a fault of the program."""
    line = one_line(error)
    ours = isinstance(error, (*USER_ERRORS, SomeFailedError))
    return line if ours else f"{type(error).__name__}: {line}"
