"""The commands that look after a results folder, as a person meets them."""

import os
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from harness import FAST, assert_same_science, call, read, rows

from xai_sweep.commands.status import duration
from xai_sweep.results import load
from xai_sweep.store.sharing.lease import acquire

SMALL = (*FAST, "data.limit=3", "transform.angle=[1,10]", "shard_images=1", "batch_size=2")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """A sweep of two cells of three shards."""
    results = tmp_path_factory.mktemp("swept")
    return results, rows(results, *SMALL)


def test_status(swept, say) -> None:
    results, _ = swept
    code, printed = say("status", results).both
    assert code == 0
    lines = [line.replace("│", " ").split() for line in printed.splitlines()]
    assert ["explainer", "grad_cam", "2"] in lines
    assert ["all", "2", "2"] in lines
    assert ["images", "6", "of", "6"] in lines

    held = acquire(results / "cells" / "x", 60.0)
    held.images = 5
    held.beat()
    _, printed = say(
        "status", results, "-m", *SMALL, "explainer=grad_cam,lrp", "results=elsewhere"
    ).both
    lines = [line.replace("│", " ").split() for line in printed.splitlines()]
    assert ["explainer", "grad_cam", "2"] in lines
    assert ["lrp", "2"] in lines
    assert ["all", "4", "2", "2"] in lines
    assert ["images", "6", "of", "12"] in lines
    _, printed = say("status", results).both
    assert f"running   pid {os.getpid()} on {os.uname().nodename}: 1 cell\n" in printed
    held.release()
    (results / "cells" / "x").rmdir()


def test_status_as_json(swept, say) -> None:
    results, _ = swept
    document = say("status", "--json", results).json
    assert document["results"] == str(results)
    assert document["counts"] == {"done": 2, "running": 0, "failed": 0, "missing": 0}
    assert (document["images"], document["images_planned"]) == (6, 6)
    assert (document["images_failed"], document["failed_points"]) == (0, 0)
    assert document["seconds_left"] is None
    assert [(cell["magnitude"], cell["state"]) for cell in document["cells"]] == [
        (1.0, "done"),
        (10.0, "done"),
    ]
    first = document["cells"][0]
    assert first["name"] in {path.name for path in (results / "cells").iterdir()}
    assert (first["explainer"], first["transform"], first["parameter"]) == (
        "grad_cam",
        "rotation",
        "angle",
    )
    assert first["holder"] is None

    # The sweep's words, options among them.
    words = ("explainer=grad_cam,lrp", "--json", "data.limit=3", "-m", "transform.angle=[1,10]")
    document = say("status", results, *(word for word in FAST if "explainer" not in word), *words)
    assert document.json["counts"] == {"done": 2, "running": 0, "failed": 0, "missing": 2}
    assert [cell["name"] for cell in document.json["cells"] if cell["state"] == "missing"] == [
        "",
        "",
    ]


def test_controls_are_counted(swept, say) -> None:
    results, _ = swept
    document = say("status", "--json", results, "explainer=controls", "transform.angle=1").json
    names = [cell["explainer"] for cell in document["cells"]]
    assert names == ["constant", "random", "sobel"]


def test_status_is_watched_until_nothing_is_left(swept, say) -> None:
    results, _ = swept
    held = acquire(results / "cells" / "x", 60.0)
    assert held is not None

    def finish() -> None:
        time.sleep(1)
        held.release()
        (results / "cells" / "x").rmdir()

    other_job = threading.Thread(target=finish)
    other_job.start()
    code, printed = say("status", "--watch", results).both
    other_job.join()
    assert code == 0
    assert "images    6 of 6" in printed


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (20, "less than a minute"),
        (90, "2 min"),
        (3599, "1 h 0 min"),
        (5400, "1 h 30 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(float(seconds)) == said


def test_damage_is_found_named_and_computed_again(tmp_path: Path, swept, say, monkeypatch) -> None:
    expected = rows(tmp_path, *SMALL)
    assert say("verify", tmp_path).code == 0
    flipped, cut = sorted(tmp_path.glob("cells/*/rows-00001-*.parquet"))
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 0x10
    flipped.write_bytes(content)
    os.truncate(cut, 5000)
    untouched = {p: p.stat().st_mtime_ns for p in tmp_path.glob("cells/*/rows-0000[02]*")}

    code, printed = say("verify", tmp_path).both
    assert code == 1
    assert f"{flipped}: is damaged: its SHA-256 is not that of the manifest" in printed
    assert f"{cut}: is half-written or damaged: 5000 bytes instead of" in printed
    assert "2 complete cells, 24 rows, 2 faults" in printed
    assert "xai-sweep verify --repair removes it" in printed
    assert flipped.exists()
    answer = say("verify", "--json", tmp_path)
    assert answer.code == 1
    assert answer.json["complete"] == 2
    assert answer.json["rows"] == 24
    assert [
        (tmp_path / "cells" / each["cell"] / each["file"]) for each in answer.json["faults"]
    ] == [
        flipped,
        cut,
    ]
    assert (answer.json["repaired"], answer.json["left_alone"]) == (False, [])
    code, printed = say("verify", "--repair", tmp_path).both
    assert code == 1
    assert "the same sweep command computes what is missing" in printed

    assert_same_science(rows(tmp_path, *SMALL), expected)
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched
    code, printed = say("verify", tmp_path).both
    assert (code, printed) == (
        0,
        "2 complete cells, 24 rows, no faults; not looked into: 0 running, 0 unfinished cells\n",
    )


def test_compaction_and_the_sweep_after_it(swept, say) -> None:
    results, expected = swept
    code, printed = say("compact", results).both
    assert code == 0
    assert printed.startswith("6 files of ")
    assert " are now 2 of " in printed
    assert_same_science(read(results), expected)
    assert say("verify", results).code == 0
    assert call(results, *SMALL) == 0
    assert len(list(results.glob("cells/*/rows-*"))) == 2
    assert "0 files" in say("compact", results).out
    assert len(load(results)) == 24


def test_leftovers_are_listed_before_they_go(tmp_path: Path, swept, say) -> None:
    results, expected = swept
    temporary = next(results.glob("cells/*")) / "_rows-00009.parquet.ab.tmp"
    temporary.touch()
    code, printed = say("prune", results).both
    assert code == 0
    assert f"{temporary}: temporary file of a killed process" in printed
    assert f"2 leftovers: xai-sweep prune --yes {results} removes them" in printed
    assert temporary.exists()
    assert "2 removed" in say("prune", "--yes", results).out
    assert not temporary.exists()
    assert say("prune", results).both == (0, "nothing is left over\n")
    assert_same_science(read(results), expected)


@pytest.mark.parametrize("command", ["status", "verify", "compact", "prune"])
def test_a_path_that_is_no_results_folder(command: str, tmp_path: Path, say) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        code, printed = say(command, path).both
        assert code == 2
        assert printed == (
            f"error: path={path}: a results folder; there is no _xai_sweep.json in it\n"
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["verify"], "verify=: must be xai-sweep verify [--repair] [--json] RESULTS"),
        (["compact", "a", "b"], "compact=a b: must be xai-sweep compact RESULTS"),
        (["prune", "--all", "r"], "--all=: unknown key; allowed: --yes"),
        (
            ["verify", "r", "--repiar"],
            "--repiar=: unknown key; did you mean --repair? allowed: --r",
        ),
        (
            ["status"],
            "status=: must be xai-sweep status [--watch | --json] RESULTS [key=value ...]",
        ),
        (["status", "r", "--watch", "--json"], "status=--watch --json: must be one of the two"),
        (["verify", "--json=1", "r"], "verify=--json=1 r: must be xai-sweep verify [--repair]"),
    ],
)
def test_words_that_make_no_sense(words: list[str], message: str, complaint) -> None:
    assert complaint(*words).startswith(message)


def test_two_schema_versions_are_one_line(tmp_path: Path, say) -> None:
    results = tmp_path
    call(results, *FAST, "data.limit=1", "magnitude=single")
    (manifest,) = results.glob("cells/*/_manifest.json")
    manifest.write_text(manifest.read_text().replace('"schema": 2', '"schema": 99'))
    for command in ("status", "verify", "compact", "prune"):
        code, printed = say(command, results).both
        assert code == 2
        assert printed.startswith(f"error: path={results}: must hold results of schema version 2, ")
        assert printed.count("\n") == 1


@pytest.mark.parametrize("words", [["compact"], ["prune", "--yes"], ["verify", "--repair"]])
def test_a_folder_that_cannot_be_written(words: list[str], swept, say, monkeypatch) -> None:
    results, _ = swept
    (results / "cells" / "_cells.ab.tmp").touch()
    os.utime(results / "cells" / "_cells.ab.tmp", (0, 0))
    for shard in results.glob("cells/*/rows-*"):
        shard.with_name("rows-00007.parquet").write_bytes(b"PAR1")

    def refuse(path: object, *_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:  # root may write wherever it likes
        patch.setattr("pathlib.Path.write_bytes", refuse)
        code, printed = say(*words, results).both
    assert code == 2
    assert printed.splitlines()[-1].startswith("error: ")
    assert printed.endswith(": Permission denied\n")
    for litter in (*results.glob("cells/*/rows-00007.parquet"), results / "cells/_cells.ab.tmp"):
        litter.unlink()
