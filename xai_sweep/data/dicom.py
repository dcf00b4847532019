"""Pictures of DICOM files, as a viewer shows them first.

Source: the DICOM standard, PS3.3, C.7.6.3 (pixels), C.11.1 (modality), C.11.2 (window).
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from xai_sweep.data.arrays import check_bytes, unit

# Without a window, values must take up more than this part of what the bits can hold.
_FILLED = 16


def read_dicom(
    path: Path, frame: int = 0, black: float | None = None, white: float | None = None
) -> Float[np.ndarray, "h w c"]:
    """One frame with values from 0 for black to 1 for white, of one or three channels.

    Stored grey values become the modality's (Hounsfield units for example) by its table, or its
    slope and intercept; then ``black`` and ``white`` say what is shown if they are given, otherwise
    the file's first table or window, otherwise all that its bits can hold, if that is not more than
    16 times what the values take up. MONOCHROME1 is inverted.
    Colours (RGB, YBR, palettes) are taken as they are.

    Args:
        path: the file; the package pydicom must be installed.
        frame: which one, from 0.
        black: in the units of the modality.
        white: likewise.

    Raises:
        ValueError: there are no pixels, or they are of a kind that cannot be shown.
        Exception: whatever pydicom raises on damaged files, or without a decoder for them.
    """
    from pydicom import dcmread

    with warnings.catch_warnings(action="ignore"):  # of odd values that are not needed
        file = dcmread(path, force=True)
        has_pixels = any(name in file for name in ("PixelData", "FloatPixelData"))
        if not (has_pixels and "Rows" in file and "Columns" in file):
            raise ValueError("holds no pixels, or is no DICOM file")
        size = int(file.Rows) * int(file.Columns)
        check_bytes(size * int(file.SamplesPerPixel) * max(1, int(file.BitsAllocated) // 8))
        return _shown(file, _stored(file, frame), frame, black, white)


def _stored(file: Any, frame: int) -> np.ndarray:
    from pydicom.pixels import pixel_array

    try:
        return np.asarray(pixel_array(file, index=frame))  # YBR becomes RGB
    except (RuntimeError, NotImplementedError) as error:
        syntax = file.file_meta.TransferSyntaxUID
        if not syntax.is_compressed:
            raise
        needed = "pip install 'pylibjpeg[all]' pyjpegls may read it"
        raise ValueError(f"is compressed ({syntax.name}); {needed}") from error


def _shown(
    file: Any, stored: np.ndarray, frame: int, black: float | None, white: float | None
) -> Float[np.ndarray, "h w c"]:
    from pydicom.pixels import apply_color_lut

    kind = str(file.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        colours = apply_color_lut(stored, file)
        bits = file.RedPaletteColorLookupTableDescriptor[2]
        return _of_bits(colours, 8 if colours.dtype == np.uint8 else bits)
    if stored.ndim == 3:
        return _of_bits(stored, int(file.BitsStored))
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise ValueError(f"has pixels of the kind {kind}, which are not shown")
    values = _modality(file, stored, frame)
    is_free = white is None
    grey = _windowed(file, stored, values, frame) if is_free else unit(values, black, white)
    return (1 - grey if kind == "MONOCHROME1" else grey)[..., None]


def _of_bits(colours: np.ndarray, bits: int) -> Float[np.ndarray, "h w c"]:
    return (colours / np.float32(2**bits - 1)).clip(0, 1).astype(np.float32)


def _modality(file: Any, stored: np.ndarray, frame: int) -> Float[np.ndarray, "h w"]:
    if "ModalityLUTSequence" in file:
        from pydicom.pixels import apply_modality_lut

        return np.asarray(apply_modality_lut(stored, file), dtype=np.float64)
    where = _group(file, frame, "PixelValueTransformationSequence", "RescaleSlope")
    slope, intercept = where.get("RescaleSlope"), where.get("RescaleIntercept")
    factor = 1.0 if slope is None else float(slope)
    return stored * factor + float(intercept or 0)


def _windowed(
    file: Any, stored: np.ndarray, values: Float[np.ndarray, "h w"], frame: int
) -> Float[np.ndarray, "h w"]:
    if "VOILUTSequence" in file:
        from pydicom.pixels import apply_voi

        bits = int(file.VOILUTSequence[0].LUTDescriptor[2])
        return _of_bits(apply_voi(values.round().astype(np.int64), file), bits)
    where = _group(file, frame, "FrameVOILUTSequence", "WindowCenter")
    centre, width = _first(where.get("WindowCenter")), _first(where.get("WindowWidth"))
    if centre is not None and width is not None and width > 0:
        return window(values, centre, width, str(where.get("VOILUTFunction") or "LINEAR"))
    if stored.dtype.kind == "f":
        return unit(values)
    ends = np.array([_limits(file)], dtype=stored.dtype)
    low, high = np.sort(_modality(file, ends, frame)[0])
    # Most of 16 bits stay empty in many files, which would come out black.
    least, most = float(values.min()), float(values.max())
    if most - least < (high - low) / _FILLED:
        wanted = "data.black and data.white say what is shown"
        raise ValueError(f"has no window, and only values from {least:g} to {most:g}; {wanted}")
    scaled: np.ndarray = ((values - low) / (high - low)).clip(0, 1)
    return scaled.astype(np.float32)


def window(
    values: Float[np.ndarray, "h w"], centre: float, width: float, function: str = "LINEAR"
) -> Float[np.ndarray, "h w"]:
    """Values as a window shows them, from 0 to 1 (PS3.3, C.11.2.1.2 and C.11.2.1.3).

    Args:
        values: in the units of the modality.
        centre: of the window.
        width: above 0.
        function: ``LINEAR``, ``LINEAR_EXACT`` or ``SIGMOID``.
    """
    if function == "SIGMOID":
        shown = 1 / (1 + np.exp((-4 * (values - centre) / width).clip(-700, 700)))
    elif function == "LINEAR_EXACT":
        shown = (values - centre) / width + 0.5
    elif width > 1:
        shown = (values - (centre - 0.5)) / (width - 1) + 0.5
    else:
        shown = values > centre - 0.5
    return np.asarray(shown, dtype=np.float32).clip(0, 1)


def _limits(file: Any) -> tuple[int, int]:
    """The smallest and the largest value that the stored bits can hold."""
    bits = int(file.BitsStored)
    if int(file.PixelRepresentation):
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def _group(file: Any, frame: int, sequence: str, name: str) -> Any:
    """Where an attribute stands: in the file, or in the group of all frames or of one frame."""
    if name in file:
        return file
    for of_frames, index in (
        ("SharedFunctionalGroupsSequence", 0),
        ("PerFrameFunctionalGroupsSequence", frame),
    ):
        groups = file.get(of_frames) or []
        if index < len(groups) and groups[index].get(sequence):
            return groups[index][sequence][0]
    return file


def _first(value: Any) -> float | None:
    """Of several windows the first is meant, PS3.3 C.11.2.1.2."""
    if value is None or value == "":
        return None
    return float(value if isinstance(value, float | int | str) else value[0])
