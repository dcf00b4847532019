"""Where the yaml files are."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]

# An installed wheel carries the yaml folder inside the package; a checkout has it beside it.
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
