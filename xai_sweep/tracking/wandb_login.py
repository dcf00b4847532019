"""Whether W&B can be used, determined without prompting the user or waiting for a server."""

import configparser
import logging
import netrc
import os
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

log = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0
# Two names of the same server; a login at either is a login.
_OFFICIAL = ("api.wandb.ai", "api.forge.coreweave.com")


def host() -> str:
    """The address of the W&B server."""
    if named := _named_host():
        return named
    import wandb

    return wandb.Settings().base_url


def _named_host() -> str | None:
    """The address in the environment or of `wandb login --host`, without importing W&B."""
    if url := os.environ.get("WANDB_BASE_URL"):
        return url
    folder = os.environ.get("WANDB_CONFIG_DIR", "~/.config/wandb")
    settings = configparser.ConfigParser(interpolation=None)
    try:
        settings.read(Path(folder).expanduser() / "settings")
    except configparser.Error as error:
        log.warning("W&B's settings: %s", error)
    return settings.get("default", "base_url", fallback=None)


def logged_in() -> bool:
    """Whether W&B would find a key without a prompt."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    standard = [Path("~/.netrc").expanduser(), Path("~/_netrc").expanduser()]
    named = os.environ.get("NETRC")
    files = [Path(named).expanduser()] if named else standard
    try:
        entries = [netrc.netrc(file).hosts for file in files if file.exists()]
    except (OSError, netrc.NetrcParseError) as error:
        log.warning("W&B stays offline: %s", error)
        return False
    url = urlsplit(_named_host() or f"https://{_OFFICIAL[0]}")
    names = {*_OFFICIAL} if url.hostname in _OFFICIAL else {url.netloc, url.hostname}
    return any(not names.isdisjoint(hosts) for hosts in entries)


def trouble() -> str:
    """Why the server, or the proxy in front of it, cannot be used now; empty if it answers."""
    url = f"{host()}/graphql"
    request = Request(url, b'{"query":"{__typename}"}', {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=ANSWER_SECONDS):
            return ""
    except HTTPError as error:
        # The server refuses this request, so it is running.
        return f"{url} answers {error.code}" if error.code >= 500 else ""
    except OSError as error:
        reason = error.reason if isinstance(error, URLError) else error
        # Python and W&B trust different certificates; W&B itself reports a bad one.
        return "" if isinstance(reason, SSLError) else f"{url} does not answer: {reason}"
    except HTTPException as error:
        return f"{url} does not answer: {error or type(error).__name__}"
