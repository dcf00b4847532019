"""Local Lipschitz of input x gradient on a linear network, from the command line to the statistic.

There e(x) = w x, pixel by pixel, so the estimate is at most the largest weight, and is the largest
ratio ||w n|| / ||n|| over the noise n of the draws.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from harness import rows, tiny
from networks import Linear

from xai_sweep.core.seeds import derive, standard_normal
from xai_sweep.statistics.local_lipschitz import local_lipschitz

DRAWS, SIGMA, SEED = 6, 0.25, 3


@pytest.fixture(scope="module")
def weights() -> torch.Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Linear().head.weight.detach()


def test_it_is_that_of_the_weights(weights: torch.Tensor, tmp_path: Path) -> None:
    network = Linear()
    network.head.weight.data = weights
    words = tiny(tmp_path)
    torch.save(network.state_dict(), tmp_path / "linear.pt")
    found = rows(
        tmp_path / "results",
        *words,
        *("model.architecture=networks:Linear", f"model.path={tmp_path / 'linear.pt'}"),
        *("model.mean=[0.0,0.0,0.0]", "model.std=[1.0,1.0,1.0]", "explainer=input_x_gradient"),
        *("transform=gaussian_noise", f"transform.sigma={SIGMA}", f"draws={DRAWS}"),
        *("metric=[euclidean]", f"seed={SEED}"),
    )
    assert len(found) == 3 * DRAWS * 2
    estimates = local_lipschitz(found)
    assert len(estimates) == 3 * 2
    assert (estimates["draws"] == DRAWS).all()
    assert (estimates["local_lipschitz"] <= weights.abs().max().item()).all()
    classes = found[found["draw"] == 0].set_index(["image_id", "rank"])["class_ref"]
    for line in estimates.itertuples():
        weight = weights[classes[line.image_id, line.rank]].double().numpy()
        assert line.local_lipschitz == pytest.approx(oracle(weight, line.image_id), rel=1e-5)


def oracle(weight: np.ndarray, image_id: str) -> float:
    purposes = ["transform", *(f"transform, draw {draw}" for draw in range(1, DRAWS))]
    seeds = torch.tensor([derive(SEED, image_id, purpose) for purpose in purposes])
    noise = standard_normal(seeds, (3, 32, 32)).double().numpy()
    red = noise[:, 0].reshape(DRAWS, -1)
    above = np.sqrt(((red * weight) ** 2).sum(axis=1))
    return float((above / np.sqrt((noise**2).sum(axis=(1, 2, 3)))).max())
