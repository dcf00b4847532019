"""How a command ends when something goes wrong: one line on stderr, and an exit code."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from xai_sweep.config.messages import USER_ERRORS, one_line
from xai_sweep.core.errors import SomeFailedError

# Of a command line too, but Hydra raises a plain ValueError.
_OF_HYDRA = ("Config group override", "Only one of --")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn a user's mistake into one line on stderr and exit code 2, Ctrl+C into 130.

    Faults of the program keep their traceback. So does everything if HYDRA_FULL_ERROR=1.
    """
    before = os.environ.get("HYDRA_FULL_ERROR")
    full = before == "1"
    # Otherwise Hydra prints several lines and exits.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    except SomeFailedError as failed:
        print(f"error: {failed}", file=sys.stderr)
        sys.exit(failed.code)
    except (*USER_ERRORS, ValueError) as error:
        known = isinstance(error, USER_ERRORS) or str(error).startswith(_OF_HYDRA)
        if full or not known:
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    finally:  # the next call in this process gets its errors in one line too
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before
