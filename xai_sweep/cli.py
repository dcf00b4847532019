"""The command line: `python run.py ...` and the installed `xai-sweep run ...` are the same."""

import sys

import hydra
from omegaconf import DictConfig

from xai_sweep.config import CONF, job_errors, one_line_errors, register

register()

USAGE = """xai-sweep: how robust are explanations of image classifiers?

  xai-sweep run [-m] [key=value ...]   run a job, or with -m a grid of jobs
  xai-sweep run --help                 the groups and keys
  xai-sweep report RESULTS             table and pictures of finished cells
"""


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def job(cfg: DictConfig) -> None:
    """One job of a sweep."""
    with job_errors():
        # Here, and not above: --help and errors in the configuration need no torch.
        from xai_sweep.sweep import Job, run

        run(cfg, Job.from_hydra())


def run() -> None:
    """`python run.py`: sweep over what the command line says."""
    with one_line_errors():
        job()


def main() -> None:
    """The console script `xai-sweep`."""
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if command == "run":
        del sys.argv[1]
        run()
    elif command == "report" and len(sys.argv) == 3:
        with one_line_errors():
            from xai_sweep.report import report_folder

            report_folder(sys.argv[2])
    elif command in ("--help", "-h"):
        print(USAGE)
    else:
        print(f"error: {' '.join(sys.argv[1:])}: must be run or report RESULTS", file=sys.stderr)
        sys.exit(2)
