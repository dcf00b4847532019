"""What is measured on a view: metrics, each of one or more columns of the rows.

A name is imported when it is first used, so that one metric does not bring all of them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
