"""Any image classifier of timm."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import timm
from annotated_types import Ge
from huggingface_hub import hf_hub_url, try_to_load_from_cache
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from timm.models import PretrainedCfg
from torch import nn
from torchvision.transforms import v2
from typing_extensions import override

from xai_sweep.core.errors import InputError
from xai_sweep.models.classifier import Classifier
from xai_sweep.models.downloads import downloading, hub_file
from xai_sweep.models.labels import check_count, imagenet_labels
from xai_sweep.models.preprocessing import Preprocess, check_normalisation, numbers
from xai_sweep.models.source import ModelSource, frozen, seeded
from xai_sweep.models.timm_folder import timm_folder
from xai_sweep.models.weights import Weights, classes_in, file_identity, put_weights, read_weights


@dataclass(frozen=True)
class TimmModel(ModelSource):
    """A classifier of timm, with the preprocessing of its default weights.

    Attributes:
        name: as in ``timm.list_models()`` or ``timm.list_pretrained()``, e.g. ``resnet18`` or
            ``resnet18.a1_in1k``.
        weights: ``default`` (timm's own, downloaded once), ``random``, or the path of a file or
            folder; the number of classes follows from it, and so does the preprocessing if it is
            a folder that timm wrote.
        seed: of random weights.
        channels: of its input. Timm fits the weights of the first layer to other numbers than
            three; ``mean`` and ``std`` must then be given.
        mean, std: of the normalisation, one number per channel; None takes those of the weights.
        key: which tensors of a file, if several sets fit: the names in it that lead to them.
    """

    name: str
    weights: Weights = "default"
    seed: int = 0
    channels: Annotated[int, Ge(1)] = 3
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        if self.mean is None or self.std is None:
            key = "model.mean" if self.mean is None else "model.std"
            if self.channels != 3:
                allowed = f"model.channels={self.channels} needs {self.channels} numbers"
                raise InputError(key, None, allowed)
            if (self.mean is None) != (self.std is None):
                raise InputError(key, None, "model.mean and model.std are given together or not")
        else:  # a list could not be hashed
            object.__setattr__(self, "mean", numbers("model.mean", self.mean))
            object.__setattr__(self, "std", numbers("model.std", self.std))
            check_normalisation(self.mean, self.std, self.channels)

    @override
    def identity(self) -> dict[str, str]:
        config = self._config()
        if self.weights == "default":
            return {"weights": f"timm:{config.architecture}.{config.tag}"}
        if self.weights == "random":
            return {"weights": "random"}
        folder = timm_folder(self.weights, config.architecture)
        return {**file_identity(self.weights), **folder.identity}

    @override
    def load(self) -> Classifier:
        config = self._config()
        if self.weights == "default":
            return timm_classifier(self._pretrained(config), self.mean, self.std)
        if self.weights == "random":
            return timm_classifier(self._build(), self.mean, self.std)
        folder = timm_folder(self.weights, config.architecture)
        content = read_weights(self.weights)
        try:
            module = self._build(**folder.arguments)
        except (TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            allowed = f"its config.json must have arguments that timm takes ({reason})"
            raise InputError("model.weights", self.weights, allowed) from error
        classes = classes_in(content, module, _last_layer(config), config.num_classes)
        if classes != config.num_classes:
            module = self._build(num_classes=classes, **folder.arguments)
        put_weights(module, content, self.key)
        classifier = timm_classifier(module, self.mean, self.std)
        check_count(folder.labels, self.weights, classes, "model.weights")
        return replace(classifier, labels=folder.labels or classifier.labels)

    def _config(self) -> PretrainedCfg:
        names = [*timm.list_models(), *timm.list_pretrained()]
        if self.name not in names:
            close = ", ".join(get_close_matches(str(self.name), names)) or "resnet18"
            raise InputError(
                "model.name",
                self.name,
                f"must be in timm.list_models() or timm.list_pretrained(); did you mean {close}?",
            )
        config = timm.get_pretrained_cfg(self.name)
        assert config is not None
        return config

    def _pretrained(self, config: PretrainedCfg) -> nn.Module:
        if not config.has_weights:
            raise InputError(
                "model.weights",
                "default",
                f"timm has no weights of {self.name}; random or a file",
            )
        url, own_file = _source(config)
        file = own_file if own_file.exists() else _cached(config)
        if file is not None:
            # Given as a file, so that timm does not contact the hub.
            overlay = {"file": str(file)}
            with downloading(url, file):
                return self._build(pretrained=True, pretrained_cfg_overlay=overlay)
        with downloading(url, own_file):
            return self._build(pretrained=True)

    def _build(self, **arguments: Any) -> nn.Module:
        with seeded(self.seed):
            if self.channels == 3:
                return timm.create_model(self.name, **arguments)
            try:
                return timm.create_model(self.name, in_chans=self.channels, **arguments)
            except (TypeError, NotImplementedError, AssertionError) as error:
                why = " ".join(str(error).split())
                allowed = f"timm cannot build {self.name} so ({why}); name another network"
                raise InputError("model.channels", self.channels, allowed) from error


def timm_classifier(
    module: nn.Module,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Classifier:
    """The classifier of a network that timm built, with timm's preprocessing for it."""
    config = resolve_data_config({}, model=module)  # type: ignore[no-untyped-call]
    if mean is not None and std is not None:
        config |= {"mean": tuple(mean), "std": tuple(std)}
    preprocess: Preprocess = create_transform(**config)
    if len(config["mean"]) == 1:
        preprocess = v2.Compose([v2.Grayscale(), preprocess])
    return Classifier(
        frozen(module),
        tuple(config["mean"]),
        tuple(config["std"]),
        imagenet_labels(module.num_classes),  # type: ignore[arg-type]
        preprocess,
        config["input_size"][-1],
    )


def _source(config: PretrainedCfg) -> tuple[str, Path]:
    """The address of the default weights, and where the user may put the file."""
    if config.hf_hub_id is None:
        assert config.url
        url, name = (
            (config.url, config.url.rpartition("/")[2])
            if isinstance(config.url, str)
            else config.url
        )
        return url, hub_file(name)
    name = config.hf_hub_filename or "model.safetensors"
    file = hub_file(f"{config.architecture}.{config.tag}{Path(name).suffix}")
    return hf_hub_url(config.hf_hub_id, name), file


def _last_layer(config: PretrainedCfg) -> str:
    # Distilled transformers have two, with the same number of classes.
    names: str | tuple[str, ...] = config.classifier or ""
    return f"{names if isinstance(names, str) else names[0]}.weight"


def _cached(config: PretrainedCfg) -> Path | None:
    """The default weights in the hub's cache; None if they were never downloaded."""
    if config.hf_hub_id is None or config.custom_load:
        return None
    for name in (config.hf_hub_filename, "model.safetensors", "pytorch_model.bin"):
        found = try_to_load_from_cache(config.hf_hub_id, name) if name else None
        if isinstance(found, str):
            return Path(found)
    return None
