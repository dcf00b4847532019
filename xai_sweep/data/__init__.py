"""Sets of images, and how they become batches.

A name is imported when it is first used, so that data sets do not bring torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
