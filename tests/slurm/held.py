"""A small network that stops in the middle of a job for as long as a test wants it to."""

import os
import time
from pathlib import Path

from networks import Plain
from torch import Tensor

# Whatever the explainer, some images of six have been written down then, and some have not.
_CALLS = 11


class Held(Plain):
    """Stops while there is a file `hold` in the folder that HELD names; leaves its process id."""

    calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        folder = Path(os.environ["HELD"])
        job = os.environ.get("SLURM_ARRAY_TASK_ID", os.environ.get("SLURM_JOB_ID", "0"))
        if self.calls >= _CALLS and (folder / "hold").exists():
            (folder / f"held-{job}").write_text(str(os.getpid()))
            while (folder / "hold").exists():
                time.sleep(0.05)
            (folder / f"held-{job}").unlink()
        return super().forward(images)
