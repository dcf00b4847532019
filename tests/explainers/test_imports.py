"""Importing one explainer imports what it needs, and nothing else."""

import subprocess
import sys

import pytest

HEAVY = ("captum", "lime", "sklearn", "skimage")

BUILD = """
from xai_sweep.config.building import build
from xai_sweep.config.keys import add_schema
from xai_sweep.config.points import composed
add_schema()
build(composed(["explainer={name}"]).explainer)
"""


def imported(code: str, *modules: str) -> set[str]:
    """Which of these modules a new process has imported after running the code."""
    code = f"{code}\nimport sys\nprint(*sorted(set({modules!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    ["from xai_sweep.explainers import GradCam", BUILD.format(name="grad_cam")],
    ids=["import", "build"],
)
def test_grad_cam_imports_no_other_method_s_libraries(code: str) -> None:
    assert imported(code, *HEAVY, "torch") == {"torch"}


def test_a_method_imports_what_it_needs() -> None:
    assert imported("from xai_sweep.explainers import LimePackage", *HEAVY) >= {"lime", "skimage"}
    assert "captum" in imported(BUILD.format(name="captum"), *HEAVY)


def test_the_package_alone_imports_no_torch() -> None:
    code = "import xai_sweep.explainers.controls, xai_sweep.explainers as e; assert 'LRP' in dir(e)"
    assert imported(code, "torch") == set()


def test_every_name_of_the_list_is_there() -> None:
    code = (
        "import xai_sweep.explainers as e, xai_sweep.explainers.controls as c\n"
        "found = [getattr(package, name) for package in (e, c) for name in package.__all__]\n"
        "assert len(found) > 25"
    )
    assert imported(code) == set()
