"""A folder as timm and the Hugging Face hub keep a network: what stands beside its weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xai_sweep.core.errors import InputError
from xai_sweep.core.hashing import file_sha256

KEY = "model.weights"
# What decides how a network sees an image.
_PREPROCESSING = (
    *("input_size", "fixed_input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode"),
)
# These follow from the weights and from `model.channels`.
_FOLLOWS = ("num_classes", "in_chans")
# These would load other files.
_LOADS = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")


@dataclass(frozen=True)
class TimmFolder:
    """What the ``config.json`` of a folder says of the network.

    Attributes:
        arguments: of `timm.create_model`, beside the name.
        labels: class names; empty if it has none.
        identity: hash of the file; nothing if there is none.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    identity: Mapping[str, str] = field(default_factory=dict)


def timm_folder(path: str, architecture: str | None) -> TimmFolder:
    """What a folder says of its network; nothing for a file, or a folder that timm did not write.

    Args:
        path: of the folder or file.
        architecture: timm's name of the network.

    Raises:
        InputError: it holds another network.
    """
    file = Path(path).expanduser() / "config.json"
    if not file.is_file():
        return TimmFolder()
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(KEY, path, "its config.json must be JSON") from error
    if not isinstance(config, Mapping) or "architecture" not in config:
        return TimmFolder()
    if config["architecture"] != architecture:
        allowed = f"holds timm's {config['architecture']}; must be weights of {architecture}"
        raise InputError(KEY, path, allowed)
    arguments = dict(config.get("model_args") or {})
    known = config.get("pretrained_cfg") or {}
    overlay = {name: known[name] for name in _PREPROCESSING if known.get(name) is not None}
    if "img_size" in arguments:
        size = arguments["img_size"]
        sides = [size, size] if isinstance(size, int) else size
        overlay["input_size"] = [*overlay.get("input_size", [3])[:1], *sides]
    overlay |= {name: tuple(value) for name, value in overlay.items() if isinstance(value, list)}
    kept = {name: value for name, value in arguments.items() if name not in (*_FOLLOWS, *_LOADS)}
    labels = tuple(map(str, config.get("label_names") or known.get("label_names") or ()))
    identity = {"config": f"sha256:{file_sha256(file)}"}
    return TimmFolder({**kept, "pretrained_cfg_overlay": overlay}, labels, identity)
