"""Class names in the forms in which people have them: the names that are meant, or one line."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Plain
from torch import Tensor, nn
from torchvision.models import AlexNet_Weights

from xai_sweep.core.errors import InputError
from xai_sweep.models import Classifier, ModelSource, load
from xai_sweep.models.checkpoint import CheckpointModel
from xai_sweep.models.label_files import NoNamesError, names_in
from xai_sweep.models.labels import read_labels

TAKEN = {
    "lines": "cat\ndog\nbird\n",
    "windows": "cat\r\ndog\r\nbird\r\n\r\n",
    "no end": "cat\ndog\nbird",
    "comments": "# classes\n#\ncat\ndog\nbird\n",
    "spaces": "  cat\ndog \n\tbird\n",
    "quoted": "'cat',\n'dog',\n'bird',\n",
    "heading": "class_name\ncat\ndog\nbird\n",
    "numbered": "0: cat\n1: dog\n2: bird\n",
    "numbered, with gaps of lines": "0: cat\n\n1: dog\n\n2: bird\n",
    "numbered in another order": "2: bird\n0: cat\n1: dog\n",
    "numbered by spaces": "0 cat\n1\tdog\n2   bird\n",
    "numbered by commas": '0,cat\n1,"dog"\n2, bird\n',
    "numbered by points": "0. cat\n1. dog\n2) bird\n",
    "numbered by dashes": "0 - cat\n1 - dog\n2 - bird\n",
    "numbers last": "cat 0\ndog 1\nbird 2\n",
    "csv": "id,name\n0,cat\n1,dog\n2,bird\n",
    "csv of spreadsheets": "class_id;class_name\n2;bird\n1;dog\n0;cat\n",
    "csv by tabs": "name\tindex\ncat\t0\ndog\t1\nbird\t2\n",
    "csv with more": "id,supercategory,name\n0,pet,cat\n1,pet,dog\n2,wild,bird\n",
    "csv with any other name": "index,animal\n0,cat\n1,dog\n2,bird\n",
    "synsets": "n02121620 cat\nn02084071 dog\nn01503061 bird\n",
    "JSON": '["cat", "dog", "bird"]',
    "JSON by number": '{"2": "bird", "1": "dog", "0": "cat"}',
    "JSON of ImageNet": '{"0": ["n01", "cat"], "1": ["n02", "dog"], "2": ["n03", "bird"]}',
    "JSON by name": '{"cat": 0, "dog": 1, "bird": 2}',
    "JSON of categories": '[{"id": 1, "name": "dog"}, {"id": 2, "name": "bird"},'
    ' {"id": 0, "name": "cat"}]',
    "JSON of transformers": '{"model_type": "vit", "id2label": {"0": "cat", "1": "dog", '
    '"2": "bird"}, "label2id": {"cat": 0, "dog": 1, "bird": 2}}',
    "JSON of timm": '{"architecture": "vit", "label_names": ["cat", "dog", "bird"]}',
    "JSON of torchvision": '{"classes": ["cat", "dog", "bird"]}',
    "Python": "{0: 'cat',\n 1: 'dog',\n 2: \"bird\"}",
    "YAML": "- cat\n- dog\n- bird\n",
    "YAML of ultralytics": "# data\npath: ../data\nnames:\n  0: cat\n  1: dog\n  2: bird\n",
    "YAML on a line": "nc: 3\nnames: [cat, dog, bird]\n",
}


@pytest.mark.parametrize("form", TAKEN)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_names_that_are_meant(tmp_path: Path, form: str, encoding: str) -> None:
    path = tmp_path / "names"
    path.write_bytes(TAKEN[form].encode(encoding))
    assert read_labels(str(path)) == ("cat", "dog", "bird")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("class 0\nclass 1\n", ["class 0", "class 1"]),
        ("0\n1\n2\n", ["0", "1", "2"]),
        ("Boeing 707\nBoeing 717\n", ["Boeing 707", "Boeing 717"]),
        ("1000 islands\nvinaigrette\n", ["1000 islands", "vinaigrette"]),
        ("tench, Tinca tinca\ngoldfish\n", ["tench, Tinca tinca", "goldfish"]),
        ("n01440764 tench, Tinca tinca\n", ["tench, Tinca tinca"]),
        ("n01440764\nn01443537\n", ["n01440764", "n01443537"]),
        ("crane\nmaillot\ncrane\n", ["crane", "maillot", "crane"]),
        ("- yes\n- no\n- 007\n", ["yes", "no", "007"]),
        ('id,name\n0,"tench, Tinca"\n', ["tench, Tinca"]),
    ],
)
def test_names_that_look_like_something_else(text: str, names: list[str]) -> None:
    assert names_in(text) == names


def test_the_names_of_imagenet_in_every_form() -> None:
    names = AlexNet_Weights.DEFAULT.meta["categories"]
    numbered = dict(enumerate(names))
    for text in (
        "\n".join(names),
        "\n".join(f"{number}: {name}" for number, name in numbered.items()),
        json.dumps(names),
        json.dumps({number: [f"n{number:08}", name] for number, name in numbered.items()}),
        repr(numbered),
    ):
        assert names_in(text) == names


def test_umlauts_of_spreadsheets(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes("Kätzchen\nHündchen\n".encode("cp1252"))
    with caplog.at_level(logging.WARNING):
        assert read_labels(str(path)) == ("Kätzchen", "Hündchen")
    assert any("is read as cp1252" in message for message in caplog.messages)
    path.write_text("Ka\u0308tzchen\n", encoding="utf-8")  # as macOS decomposes it
    assert read_labels(str(path)) == ("Kätzchen",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no names; must hold one name per line"),
        (b"# names\n", "holds no names, and begins with '# names'; must hold one name per line"),
        (b"cat\n\ndog\n", "has an empty line, number 2, and begins with 'cat'; must hold one name"),
        (b"0: cat\n0: dog\n", "has the number 0 twice, and begins with '0: cat'; must hold"),
        (b"0: cat\n2: dog\n", "has no number 1, and begins with"),
        (b"1: cat\n2: dog\n", "has no number 0; the first class of a network is 0, and begins"),
        (b"0: cat\n1: dog\nbird\n", "has a line without a number: 'bird', and begins with"),
        (b"id,a,b\n0,cat,pet\n", "has several columns, and none is called name, and begins"),
        (b"id,name\n0,cat\n0,dog\n", "has the number 0 twice, and begins with 'id,name'"),
        (b"n02119789 1 kit_fox\n", "has synsets with numbers, which are those of another order"),
        (b"{]", "is neither JSON nor YAML, and begins with '{]'; must hold"),
        (b"[]", "holds no names, and begins with '[]'"),
        (b"{}", "holds no names, and begins with '{}'"),
        (b'{"0": "cat", "1": ""}', "has no name in '', and begins with"),
        (b'{"n01": "cat"}', "has no number or no name in 'n01: cat', and begins"),
        (b'[{"id": 0}]', "has no name in None, and begins with"),
        (b"\x89PNG\0\0", "is no text; must be a file of class names"),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_labels(str(path))
    assert str(error.value).startswith(f"model.labels={path}: {message}")
    assert "\n" not in str(error.value)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="0123 :,;\t\n[]{}'\"-#nab=.é\u2028\\", max_size=40))
def test_any_text_gives_names_or_a_reason(text: str) -> None:
    try:
        names = names_in(text)
    except NoNamesError:
        return
    assert names
    assert all(isinstance(name, str) for name in names)


@pytest.mark.parametrize("given_as", ["file", "list"])
def test_there_is_one_name_per_class(tmp_path: Path, given_as: str) -> None:
    torch.save(Plain().state_dict(), tmp_path / "plain.pt")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    labels = str(tmp_path / "names.txt") if given_as == "file" else ["cat", "dog"]
    with pytest.raises(
        InputError,
        match=r"^model\.labels=.*: holds 2 class names \(cat, \.\.\., dog\), and the network has 5 "
        r"classes; must hold one name per class$",
    ):
        load(CheckpointModel("networks:Plain", path=str(tmp_path / "plain.pt"), labels=labels))


@dataclass(frozen=True)
class Ready(ModelSource):
    """A network that returns so many numbers, in a tuple, with class names."""

    outputs: int
    labels: tuple[str, ...]

    def identity(self) -> dict[str, str]:
        return {}

    def load(self) -> Classifier:
        class Network(nn.Conv2d):
            def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
                return super().forward(images).mean((2, 3)), images

        return Classifier(Network(3, self.outputs, 3), labels=self.labels, size=32)


def test_the_number_of_classes_is_that_of_the_logits() -> None:
    """One number decides between two classes, and a tuple holds other things too."""
    names = ("cat", "dog", "elk")
    assert load(Ready(1, names[:2], output_key=0)).labels == names[:2]
    assert load(Ready(3, names, output_key=0)).labels == names
    with pytest.raises(InputError, match=r"^model\.labels=.* the network has 2 classes"):
        load(Ready(1, names, output_key=0))
