"""Which rule applies where: the first entry that matches, and bad lists are refused in one line."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pytest
import torch
import torchvision
from networks import network
from relevance import propagation
from torch import nn

from xai_sweep.config.presets import preset, presets
from xai_sweep.core.errors import InputError
from xai_sweep.explainers import LRP
from xai_sweep.explainers.relevance.engine import DEFAULT_RULES
from xai_sweep.models import Classifier

Rules = Sequence[Mapping[str, Any]]


@cache
def vgg(name: str) -> Classifier:
    """The layers' numbers are those of the thesis; the classifier is made thin."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = torchvision.models.get_model(name, weights=None, num_classes=10)
        net.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 8), nn.ReLU(),
            nn.Dropout(), nn.Linear(8, 10),
        )  # fmt: skip
    return Classifier(net.eval())


def chosen(classifier: Classifier, rules: Rules, side: int = 32, **rest: Any) -> dict[str, str]:
    """The rule of every layer with weights, sum and pool, by its path."""
    images = torch.zeros(2, 3, side, side)
    steps = propagation(classifier, images, rules=rules, **rest).plan.steps
    counted = ("conv", "linear", "batchnorm", "add", "pool")
    return {step.path or step.op: step.rule for step in steps if step.op in counted}


CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # of VGG16's features
G, E, Z = "gamma", "epsilon(epsilon=0.25, relative=True)", "zero"
# Thesis, table 4.1: rule and the first feature it does not hold for; the classifier's rule.
TABLE: dict[str, tuple[list[tuple[str, int]], str]] = {
    "thesis_vgg16": ([(G, 17), (E, 31)], Z),
    "calibration_0": ([("z_box", 1), (G, 17), (E, 31)], Z),
    "calibration_1": ([(E, 31)], Z),
    "calibration_2": ([(E, 31)], E),
    "calibration_3": ([(G, 31)], G),
    "calibration_4": ([(Z, 31)], Z),
    "calibration_5": ([(G, 26), (E, 31)], Z),
    "calibration_6": ([(G, 11), (E, 31)], Z),
    "calibration_7": ([(G, 31)], Z),
}


@pytest.mark.parametrize("name", TABLE)
def test_presets_of_the_thesis(name: str) -> None:
    features, classifier = TABLE[name]
    found = chosen(vgg("vgg16"), preset(name))
    for number in CONVOLUTIONS:
        rule = next(rule for rule, end in features if number < end)
        assert found[f"features.{number}"] == rule, number
    assert [found[f"classifier.{number}"] for number in (0, 3, 6)] == [classifier] * 3


def test_the_preset_of_the_thesis_with_batchnorm() -> None:
    found = chosen(vgg("vgg16_bn"), preset("thesis_vgg16_bn"))
    convolutions = {int(path[9:]): rule for path, rule in found.items() if path[:8] == "features"}
    assert len(convolutions) == 13
    assert convolutions == {number: G if number < 24 else E for number in convolutions}
    assert [found[f"classifier.{number}"] for number in (0, 3, 6)] == [Z] * 3


# Those of the thesis name layers of one network.
FOR_ANY_NETWORK = [name for name in presets() if not name.startswith(("thesis", "calibration"))]


@pytest.mark.parametrize("name", FOR_ANY_NETWORK)
def test_other_presets_leave_no_layer_out(name: str) -> None:
    found = chosen(Classifier(network("in_place")), preset(name), side=16)
    assert {"stem", "block", "head"} <= found.keys()


def test_without_configuration_lrp_has_the_default_preset() -> None:
    assert list(DEFAULT_RULES) == preset("default")
    assert LRP().composite() == LRP(rules=preset("default")).composite()


def test_an_unknown_preset_is_one_line() -> None:
    line = "^explainer/rules=epsilon_minus: must be one of calibration_0, .*, thesis_vgg16_bn$"
    with pytest.raises(InputError, match=line):
        preset("epsilon_minus")


ALL = {"rule": "zero"}


def test_the_first_entry_that_matches_wins() -> None:
    rules = [{"op": "conv", "rule": "gamma"}, {"path": "features.3", "rule": "flat"}, ALL]
    found = chosen(Classifier(network("plain")), rules, side=16)
    assert found["features.3"] == "gamma"
    assert found["classifier"] == "zero"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"op": "conv"}, "features.0 features.3"),
        ({"op": ["linear", "pool"]}, "classifier pool"),
        ({"path": "features.*"}, "features.0 features.3"),
        ({"path": "*.3"}, "features.3"),
        ({"index": "features[0:3]"}, "features.0"),
        ({"index": "features[3]"}, "features.3"),
        ({"index": "features[1:]"}, "features.3"),
        ({"index": "features[:]"}, "features.0 features.3"),
        ({"position": "first"}, "features.0"),
        ({"position": "last"}, "classifier"),
        # Three layers with weights at 0, 1/2 and 1; the pool counts where it stands.
        ({"depth": [0.0, 0.5]}, "features.0"),
        ({"depth": [0.5, 1.0]}, "features.3 classifier pool"),
        ({"depth": [0.6, 1.0]}, "classifier"),
        ({"op": "conv", "position": "last"}, ""),
        ({"path": "features.*", "depth": [0.4, 1.0]}, "features.3"),
        ({}, "features.0 features.3 classifier pool"),
    ],
    ids=str,
)
def test_all_matchers_must_hold(entry: dict[str, Any], expected: str) -> None:
    found = chosen(Classifier(network("plain")), [{**entry, "rule": "flat"}, ALL], side=16)
    assert {path for path, rule in found.items() if rule == "flat"} == {*expected.split()}


R = "explainer.rules"
BAD: list[tuple[Any, str]] = [
    ([], f"{R}=[]: must be a list of mappings"),
    (
        "epsilon_plus",
        f"{R}=epsilon_plus: must be a list of rules; for the preset take "
        "explainer/rules=epsilon_plus on the command line, in Python "
        'xai_sweep.config.presets.preset("epsilon_plus")',
    ),
    ([{"op": "conv"}], f"{R}[0]={{'op': 'conv'}}: must be a mapping with a 'rule', one of zero, "),
    ([{"rule": "gama"}], f"{R}[0].rule=gama: must be one of zero, "),
    ([{"rule": "gamma", "gama": 1}], f"{R}[0].gama=1: unknown key; did you mean gamma? allowed: "),
    ([{"rule": "gamma", "gamma": -1}], f"{R}[0].gamma=-1: must be a number of at least 0"),
    ([{"rule": "gamma", "gamma": "x"}], f"{R}[0].gamma=x: must be a number"),
    ([{"rule": "gamma", "bias": 3}], f"{R}[0].bias=3: must be true or false"),
    (
        [{"rule": "alpha_beta", "alpha": 2, "beta": 2}],
        f"{R}[0].alpha=2.0: must be beta + 1 = 3",
    ),
    ([ALL, {"rule": "epsilon", "epsilon": 0}], f"{R}[1].epsilon=0: must be a number above 0"),
    ([{"rule": "epsilon", "epsilon": -1.0}], f"{R}[0].epsilon=-1.0: must be a number above 0"),
    ([{**ALL, "op": "convolution"}], f"{R}[0].op=convolution: must be one or a list of conv, "),
    ([{**ALL, "op": 3}], f"{R}[0].op=3: must be one or a list of conv, "),
    ([{"rule": ["zero"]}], f"{R}[0].rule=['zero']: must be one of zero, "),
    ([{**ALL, "op": []}], f"{R}[0].op=[]: must be one or a list of conv, "),
    ([{**ALL, "path": 3}], f"{R}[0].path=3: must be a glob over module paths"),
    ([{**ALL, "index": "features"}], f"{R}[0].index=features: must be a slice of a sequence"),
    ([{**ALL, "depth": [0.5]}], f"{R}[0].depth=[0.5]: must be two rising numbers from 0"),
    ([{**ALL, "depth": [0.5, 0.2]}], f"{R}[0].depth=[0.5, 0.2]: must be two rising numbers"),
    ([{**ALL, "depth": [0, 2]}], f"{R}[0].depth=[0, 2]: must be two rising numbers"),
    ([{**ALL, "position": "middle"}], f"{R}[0].position=middle: must be one of first, last"),
]


@pytest.mark.parametrize(("rules", "line"), BAD, ids=[line[:48] for _, line in BAD])
def test_a_bad_list_is_refused_in_one_line(rules: Any, line: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(line)}") as caught:
        LRP(rules=rules)
    assert "\n" not in str(caught.value)


IN_THIS_NETWORK: list[tuple[Any, str]] = [
    (
        [{"path": "feature.*", "rule": "zero"}, ALL],
        f"{R}[0].path=feature.*: matches no layer of this network; its layers are features.0, "
        "features.3, classifier",
    ),
    ([{"index": "features[7:9]", "rule": "zero"}, ALL], f"{R}[0].index=features[7:9]: matches no"),
    (
        [{"op": "conv", "rule": "gamma"}],
        f"{R}=1 entries: leaves the network (pool) without a rule; a last entry without matchers, "
        "such as {rule: zero}, covers all the rest",
    ),
    (
        [{"op": ["linear", "pool"], "rule": "zero"}],
        f"{R}=1 entries: leaves features.0 (conv) without a rule",
    ),
    (
        [{"rule": "z_box"}],
        f"{R}=z_box: cannot be applied to features.3: it is for the layer that reads the pixels",
    ),
    ([{"rule": "abs_z"}], f"{R}=abs_z: cannot be applied to features.0: it is for batchnorm"),
    (
        [{"rule": "pass"}],
        f"{R}=pass: cannot be applied to features.0: it needs one input per output",
    ),
]


@pytest.mark.parametrize(
    ("rules", "line"), IN_THIS_NETWORK, ids=[line[:48] for _, line in IN_THIS_NETWORK]
)
def test_what_does_not_fit_the_network_names_the_layer(rules: Any, line: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(line)}") as caught:
        propagation(Classifier(network("plain")), torch.zeros(1, 3, 16, 16), rules=rules)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"batchnorm": "merge"}, "explainer.batchnorm=merge: must be one of fuse, abs_z, epsilon,"),
        ({"unsupported": "skip"}, "explainer.unsupported=skip: must be one of error, gradient"),
        ({"batchnorm_epsilon": 0.0}, "explainer.batchnorm_epsilon=0.0: must be a number above 0"),
    ],
)
def test_other_parameters(given: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(line)}"):
        LRP(**given)
