"""A small network that waits in the middle of a job for as long as a test wants."""

import os
import time
from pathlib import Path

from networks import Plain
from torch import Tensor

# Whatever the explainer, after so many calls some of six images have been written and some not.
_CALLS = 11


class Held(Plain):
    """Waits while the folder HELD has a file `hold`; its process id is in `held-*` meanwhile."""

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
