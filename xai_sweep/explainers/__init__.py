"""Explanation methods: values that explain images of a classifier.

A name is imported when it is first used, so that one method does not bring all of them. The list
is in `__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
