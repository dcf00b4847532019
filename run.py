"""Measure how robust explanations are: `python run.py --help`."""

from xai_sweep.commands.run import run

if __name__ == "__main__":
    run()
