"""Lets Hydra find the yaml files of `plugins=[my_package]`; it takes plugins from here only.

Hydra looks into this file whenever any Hydra program of the environment starts. In programs other
than ours nothing is active.
"""

import sys

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin
from typing_extensions import override


class PluginFolders(SearchPathPlugin):
    """Appends the folders of active plugins, and the user's own, to those that Hydra searches."""

    @override
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        plugins = sys.modules.get("xai_sweep.config.plugins")
        for folder in plugins.folders() if plugins else ():
            search_path.append("xai_sweep plugin", f"file://{folder}")
