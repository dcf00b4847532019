"""LIME's linear model as scikit-learn fits it, and its errors by loops, in float64."""

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise_distances


def weights(masks: np.ndarray, kernel_width: float) -> np.ndarray:
    """As in `lime.lime_image`."""
    whole = np.ones((1, masks.shape[1]))
    distances = pairwise_distances(masks.astype(float), whole, metric="cosine").ravel()
    return np.sqrt(np.exp(-(distances**2) / kernel_width**2))


def model(
    masks: np.ndarray, scores: np.ndarray, kernel_width: float, alpha: float
) -> tuple[np.ndarray, float, float]:
    """Coefficients, intercept and R2 of one image and target."""
    sample_weight = weights(masks, kernel_width)
    ridge = Ridge(alpha=alpha, fit_intercept=True)
    ridge.fit(masks.astype(float), scores, sample_weight=sample_weight)
    r2 = ridge.score(masks.astype(float), scores, sample_weight=sample_weight)
    return ridge.coef_, float(ridge.intercept_), float(r2)


def errors(
    masks: np.ndarray, scores: np.ndarray, clusters: np.ndarray, kernel_width: float, alpha: float
) -> np.ndarray:
    """Standard errors of the coefficients by the sandwich, cluster by cluster."""
    weight = weights(masks, kernel_width)
    coefficients, intercept, _ = model(masks, scores, kernel_width, alpha)
    residual = scores - intercept - masks @ coefficients
    centred = masks - np.average(masks, axis=0, weights=weight)
    count, superpixels = masks.shape
    bread = alpha * np.eye(superpixels)
    for i in range(count):
        bread += weight[i] * np.outer(centred[i], centred[i])
    filling = np.zeros((superpixels, superpixels))
    groups = np.unique(clusters)
    for group in groups:
        pull = np.zeros(superpixels)
        for i in np.flatnonzero(clusters == group):
            pull += weight[i] * residual[i] * centred[i]
        filling += np.outer(pull, pull)
    inverse = np.linalg.inv(bread)
    correction = len(groups) / (len(groups) - 1 - superpixels)
    return np.sqrt(correction * np.diag(inverse @ filling @ inverse))
