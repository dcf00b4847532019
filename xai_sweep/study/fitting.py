"""A job's fit: made once from the job's own images, and kept beside the results."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from xai_sweep.config.cells import OF_A_FIT, digest
from xai_sweep.core.errors import InputError
from xai_sweep.data import ImageFile
from xai_sweep.data.dataset import Images
from xai_sweep.explainers import Fittable
from xai_sweep.models import Classifier
from xai_sweep.models.weights import existing
from xai_sweep.store.atomic import replacing

FITS = "_fits"
log = logging.getLogger(__name__)


def fitted(
    explainer: Fittable,
    classifier: Classifier,
    files: Sequence[ImageFile],
    results: Path,
    identity: Mapping[str, Any],
) -> Fittable:
    """The method ready to explain: as it is, from a file, or fitted now.

    The file is the one that a parameter names, or the one that an earlier job wrote.

    Args:
        explainer: the method.
        classifier: on the device where it will be explained.
        files: the job's images, of which those that cannot be read are left out.
        results: the results folder.
        identity: see `Curve.identity`.

    Raises:
        InputError: no image can be read, or the network cannot be captured; or the named file
            cannot be read.
    """
    explainer = from_file(explainer)
    if explainer.is_fitted:
        return explainer
    key = digest({name: identity[name] for name in OF_A_FIT})[:16]
    path = results / FITS / f"{type(explainer).__name__}-{key}.safetensors"
    if path.exists():
        try:
            return explainer.restored(path.read_bytes(), str(path))
        except InputError as error:
            log.warning("%s: made again", error)
    path.parent.mkdir(exist_ok=True)
    made = explainer.fit(classifier, _batches(files[: explainer.limit], classifier))
    with replacing(path) as file:
        file.write(made.to_bytes())
    return made


def from_file(explainer: Fittable) -> Fittable:
    """The method with the fit in the file that a parameter names; itself if none does.

    Raises:
        InputError: the file cannot be read.
    """
    if explainer.file is None:
        return explainer
    key, path = explainer.file
    return explainer.restored(existing(path, key).read_bytes(), path)


def _batches(files: Sequence[ImageFile], classifier: Classifier) -> Iterator[Tensor]:
    images = Images(files, classifier.preprocess, channels=classifier.channels)
    device = next(classifier.module.parameters(), torch.empty(0)).device
    for batch in DataLoader(images, batch_size=8, collate_fn=images.collate):
        if batch.files:
            yield batch.images.to(device)
