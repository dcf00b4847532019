"""How far apart two heatmaps are: pure kernels on pairs of heatmaps, one file each."""

from xai_sweep.metrics.base import Metric, Pairs
from xai_sweep.metrics.similarity.cosine import Cosine
from xai_sweep.metrics.similarity.nrmse import NRMSE
from xai_sweep.metrics.similarity.pearson import Pearson
from xai_sweep.metrics.similarity.rmse import RMSE
from xai_sweep.metrics.similarity.spearman import Spearman
from xai_sweep.metrics.similarity.ssim import SSIM
from xai_sweep.metrics.similarity.topk_iou import TopKIoU

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
