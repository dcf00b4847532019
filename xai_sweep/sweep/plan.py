"""What a sweep is to compute: written down by every job, and told from a command line.

Imports neither torch nor Lightning where it can, so that `xai-sweep status` answers at once.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from xai_sweep.config.cells import NUMBERS, Cell, asked, asked_of, digest, title, without_how
from xai_sweep.config.root import CONF, build
from xai_sweep.store.plans import Planned, write_plan

# What overrides below these heads say shows in that group alone, so the groups of a grid are
# composed apart: a sum of compositions instead of a product.
_GROUPS = {
    "model": ("model",),
    "explainer": ("explainer",),
    "transform": ("transform", "magnitude"),
}

# A key's words, one per value: "transform.angle=1", "transform.angle=5".
Axes = Mapping[str, Sequence[str]]


def register(results: Path, cells: Sequence[Cell], images: int) -> None:
    """Write down what a job is to compute, so that `status` knows what is missing.

    Args:
        results: the results folder.
        cells: the job's cells, finished ones too.
        images: how many images the data set has.
    """
    planned = [
        Planned(
            name=cell.folder,
            data=cell.curve.data,
            model=cell.curve.model,
            explainer=cell.curve.explainer,
            transform=cell.curve.transform,
            parameter=cell.curve.parameter,
            magnitude=cell.magnitude,
            asked=asked(cell.science),
            ranks=cell.science["ranks"],
            numbers=cell.science["numbers"],
            images=images,
        )
        for cell in cells
    ]
    write_plan(results, planned)


def grid(words: Sequence[str]) -> list[Planned]:
    """The cells that a command line asks for, whatever the weights and the images.

    Args:
        words: as behind `xai-sweep run`.

    Raises:
        HydraException: a word that Hydra does not understand.
    """
    given = _axes([word for word in words if not word.startswith("-")])
    # Two points may ask for the same cell; the same question about other images is another one.
    found: dict[tuple[str, ...], Planned] = {}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        experiments = {key: given.pop(key) for key in [*given] if _head(key) == "experiment"}
        for experiment in _product(experiments):
            axes = _axes(_own_words(experiment)) | given
            groups = {
                group: {key: axes[key] for key in axes if _head(key) in heads}
                for group, heads in _GROUPS.items()
            }
            rest = {key: axes[key] for key in axes if not any(key in of for of in groups.values())}
            for common in _product(rest):
                data = [word for word in common if _head(word.partition("=")[0]) == "data"]
                for cell in _cells([*experiment, *common], groups):
                    found[*data, cell.asked] = cell
    return list(found.values())


def _cells(common: Sequence[str], groups: Mapping[str, Axes]) -> Iterator[Planned]:
    first = {group: next(_product(axes)) for group, axes in groups.items()}
    parts = []
    for group, axes in groups.items():
        others = itertools.chain(*(first[other] for other in groups if other != group))
        words = [*common, *others]
        looked = [_looked_at(group, [*words, *chosen]) for chosen in _product(axes)]
        parts.append([part for of_chosen in looked for part in of_chosen])
    cfg, choices = _composed([*common, *itertools.chain(*first.values())])
    root = {key: cfg[key] for key in ("seed", "ranks", "target", "region")}
    root["metric"] = OmegaConf.to_container(cfg.metric, resolve=True)
    fixed = {key: digest(value) for key, value in {**root, "numbers": NUMBERS}.items()}
    for model, explainer, transform in itertools.product(*parts):
        digests = {name: part["digest"] for name, part in _named(model, explainer, transform)}
        yield Planned(
            name="",
            data=choices["data"],
            model=model["title"],
            explainer=explainer["title"],
            transform=transform["title"],
            parameter=transform["parameter"],
            magnitude=transform["magnitude"],
            asked=asked_of(fixed | digests),
            ranks=cfg.ranks,
            numbers=NUMBERS,
        )


def _looked_at(group: str, words: Sequence[str]) -> list[dict[str, Any]]:
    """Title and digest of a group's entry; of a transform one for each magnitude."""
    cfg, choices = _composed(words)
    node: dict[str, Any] = OmegaConf.to_container(cfg[group], resolve=True)  # type: ignore[assignment]
    if group == "explainer":
        node = without_how(node)
    if group != "transform":
        return [{"title": title(group, choices, node), "digest": digest(node)}]
    parameter, magnitudes = _magnitudes(cfg, node)
    node.pop(parameter, None)
    entry = {"title": title(group, choices, node), "parameter": parameter}
    return [
        entry | {"magnitude": number, "digest": digest({**node, parameter: number})}
        for number in magnitudes
    ]


def _magnitudes(cfg: DictConfig, node: Mapping[str, Any]) -> tuple[str, list[float]]:
    """The native parameter of a transform and its numbers."""
    # By convention it is the one that also stands in the group `magnitude`.
    shared = [key for key in node if key in cfg.magnitude]
    given = node[shared[0]] if len(shared) == 1 else None
    several: list[Any] = given if isinstance(given, list) else [given]
    if all(type(number) in (int, float) for number in several):
        return shared[0], sorted({float(number) for number in several})
    transform = build(cfg.transform)  # which imports torch, and knows best
    return transform.parameter, list(transform.magnitudes)


def _axes(words: Sequence[str]) -> dict[str, list[str]]:
    """The words of a command line by key, a sweep as one word per value; Hydra's own left out."""
    axes = {}
    for override in OverridesParser.create().parse_overrides(list(words)):
        key = override.get_key_element()
        if _head(key) == "hydra":
            continue
        if override.is_sweep_override():
            axes[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            axes[key] = [override.input_line or ""]
    return axes


def _own_words(experiment: Sequence[str]) -> list[str]:
    """The grid that an experiment's yaml brings along."""
    cfg = compose("config", overrides=list(experiment), return_hydra_config=True)
    params = cfg.hydra.sweeper.params or {}
    return [f"{key}={value}" for key, value in params.items()]


def _composed(words: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
    cfg = compose("config", overrides=list(words), return_hydra_config=True)
    return cfg, {group: str(entry) for group, entry in cfg.hydra.runtime.choices.items()}


def _product(axes: Axes) -> Iterator[list[str]]:
    return (list(words) for words in itertools.product(*axes.values()))


def _head(key: str) -> str:
    """The group or root key that a key belongs to."""
    return key.lstrip("+~").replace("/", ".").partition(".")[0]


def _named(*parts: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return zip(_GROUPS, parts, strict=True)
