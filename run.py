"""Measure how robust explanations are: `python run.py --help`."""

from xai_sweep.commands.main import run

if __name__ == "__main__":
    run()
