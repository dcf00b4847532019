"""How far apart two heatmaps are: pure kernels on pairs of heatmaps, one file each."""

from xai_sweep.metrics.base import Metric, Pairs
from xai_sweep.metrics.cosine import Cosine
from xai_sweep.metrics.nrmse import NRMSE
from xai_sweep.metrics.pearson import Pearson
from xai_sweep.metrics.rmse import RMSE
from xai_sweep.metrics.spearman import Spearman
from xai_sweep.metrics.ssim import SSIM
from xai_sweep.metrics.topk_iou import TopKIoU

__all__ = [
    "NRMSE",
    "RMSE",
    "SSIM",
    "Cosine",
    "Metric",
    "Pairs",
    "Pearson",
    "Spearman",
    "TopKIoU",
]
