"""Null explainers: heatmaps that do not depend on the network. Every method has to beat them.

Names are imported when they are first used; see `__init__.pyi` for the list.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
