"""Lay out a W&B workspace: curves per transform, grouped by explainer, model and question.

    python analysis/wandb_dashboard.py --entity TEAM [--project xai_sweep] [--sweep NAME]
    python analysis/wandb_dashboard.py --dry-run

Needs `pip install 'xai_sweep[dashboard]'`.
"""

import argparse
import sys

from omegaconf import DictConfig
from wandb_workspaces import expr
from wandb_workspaces.reports.v2 import LinePlot, MediaBrowser
from wandb_workspaces.workspaces import RunsetSettings, Section, Workspace, WorkspaceSettings

from xai_sweep.config.entries import entries
from xai_sweep.config.keys import add_schema
from xai_sweep.config.points import composed
from xai_sweep.tracking.wandb_record import MAGNITUDE, metric_key

# Columns of `xai_sweep.results.summary`, and their titles.
METRICS = {
    "rmse": "RMSE",
    "nrmse": "nRMSE",
    "spearman": "Spearman's correlation",
    "flipped": "share of flipped classes",
    "failed": "failed images",
}


def workspace(entity: str, project: str, sweep: str | None = None) -> Workspace:
    """The workspace, not saved yet.

    Args:
        entity: user or team that owns the project.
        project: name of the project.
        sweep: show the runs of this sweep alone.
    """
    sections = [_section(transform) for transform in entries("transform")]
    pictures = MediaBrowser(title="RMSE over the magnitude", media_keys=["curves"])
    return Workspace(
        entity=entity,
        project=project,
        name=f"Robustness, {sweep}" if sweep else "Robustness",
        sections=[*sections, Section(name="pictures", panels=[pictures])],
        settings=WorkspaceSettings(x_axis=MAGNITUDE, max_runs=100),
        runset_settings=RunsetSettings(
            filters=expr.And(expr.Metric("Group") == sweep) if sweep else "",
            # Runs of different questions (another region, target or seed) must not share a mean.
            groupby=[
                expr.Config("axes.explainer"),
                expr.Config("axes.model"),
                expr.Config("question"),
            ],
            pinned_columns=["run:displayName", "run:state", "config:axes.data", "summary:seconds"],
        ),
    )


def _section(transform: str) -> Section:
    parameter = _parameter(composed([f"transform={transform}"]))
    panels = [
        LinePlot(
            title=title,
            x=MAGNITUDE,
            y=[metric_key(transform, metric)],
            title_x=parameter,
            title_y=title,
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
        )
        for metric, title in METRICS.items()
    ]
    return Section(name=transform, panels=panels, is_open=True)


def _parameter(cfg: DictConfig) -> str:
    """The transform's key that the magnitudes are for; the identity has none."""
    return next((str(name) for name in cfg.magnitude if name in cfg.transform), MAGNITUDE)


def main(words: list[str]) -> None:
    """Save the workspace, or with `--dry-run` print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--entity", help="user or team that owns the project")
    parser.add_argument("--project", default="xai_sweep")
    parser.add_argument("--sweep", help="show the runs of one sweep alone: its name, the W&B group")
    parser.add_argument("--dry-run", action="store_true", help="print it as JSON, save nothing")
    given = parser.parse_args(words)
    if not given.entity and not given.dry_run:
        parser.error("--entity is needed to save the workspace; --dry-run only prints it")
    add_schema()
    made = workspace(given.entity or "entity", given.project, given.sweep)
    if given.dry_run:
        # The package has no public way to its JSON.
        print(made._to_model().spec.model_dump_json(by_alias=True, exclude_none=True, indent=2))
    else:
        print(made.save().url)


if __name__ == "__main__":
    main(sys.argv[1:])
