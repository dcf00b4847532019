"""What is changed: the image, the network, or the class that is explained.

A name is imported when it is first used, so that one transform does not bring all of them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
