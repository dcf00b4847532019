"""The public room: its names, and that nothing else in the package goes through it."""

import re
from pathlib import Path

from stored import ENTRIES

from xai_sweep import results
from xai_sweep.store.store import Store

PACKAGE = Path(results.__file__).parents[1]


def test_every_name_is_documented() -> None:
    for name in results.__all__:
        assert getattr(results, name).__doc__, name


def test_the_package_itself_does_not_import_it() -> None:
    importing = [
        path.relative_to(PACKAGE)
        for path in PACKAGE.rglob("*.py")
        if path.parent != PACKAGE / "results"
        and re.search(r"^\s*(from|import) xai_sweep\.results", path.read_text(), re.MULTILINE)
    ]
    assert importing == []


def test_a_folder_is_read_and_summarised(tmp_path, complete) -> None:
    complete(Store(tmp_path), metrics=ENTRIES, magnitude=10.0, question="q", unit="degrees")
    assert results.units(tmp_path) == {"q": "degrees"}
    (line,) = results.summary(results.load(tmp_path)).to_dict("records")
    assert (line["images"], line["failed"], line["rmse"]) == (3, 1, 0.9375)
