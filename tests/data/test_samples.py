"""The photographs that need no download."""

import subprocess
import sys

import numpy as np
import pytest
from skimage import data

from xai_sweep.core.errors import InputError
from xai_sweep.data import Samples, read_image


def test_six_photographs_in_order() -> None:
    files = Samples().files()
    names = [file.image_id for file in files]
    assert names == ["chelsea", "coffee", "daisy", "motorcycle", "palace", "rocket"]
    assert all(min(read_image(file.path).size) >= 300 for file in files)
    assert np.array_equal(np.asarray(read_image(files[0].path)), data.chelsea())


def test_limit() -> None:
    assert Samples(limit=2).files() == Samples().files()[:2]
    assert Samples(limit=100).files() == Samples().files()


@pytest.mark.parametrize("limit", [0, -1])
def test_bad_limit(limit: int) -> None:
    with pytest.raises(InputError, match=f"^data.limit={limit}: must be a whole number of at"):
        Samples(limit=limit).files()


def test_in_a_process_of_its_own() -> None:
    """The packages are not imported; and no type checker of the tests sees the value first."""
    code = (
        "import sys\n"
        "from xai_sweep.data.sets.samples import Samples\n"
        "Samples().files()\n"
        "assert not {'sklearn', 'skimage', 'torch'} & set(sys.modules)\n"
        "Samples(limit='abc').files()\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    message = "data.limit=abc: must be a whole number of at least 1 or null"
    assert result.stderr.splitlines()[-1] == f"xai_sweep.core.errors.InputError: {message}"
