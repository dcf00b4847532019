"""Whether a W&B run can be online, found out without asking the user or waiting for a server."""

import logging
import netrc
import os
import socket
from contextlib import suppress
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

log = logging.getLogger(__name__)

CONNECT_SECONDS = 2.0


def _host() -> str:
    """The address of the W&B server."""
    import wandb

    # The second also knows what `wandb login --host` wrote down.
    return os.environ.get("WANDB_BASE_URL") or wandb.setup().settings.base_url


def logged_in() -> bool:
    """Whether W&B would find a key without asking."""
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
    return any(urlsplit(_host()).hostname in hosts for hosts in entries)


def answers() -> bool:
    """Whether the server, or the proxy before it, takes a connection within two seconds."""
    url = urlsplit(_host())
    if (proxy := getproxies().get(url.scheme)) and not proxy_bypass(url.hostname or ""):
        url = urlsplit(proxy)
    address = url.hostname, url.port or (80 if url.scheme == "http" else 443)
    taken: list[bool] = []

    def connect() -> None:
        with suppress(OSError), socket.create_connection(address, timeout=CONNECT_SECONDS):
            taken.append(True)

    # In a thread, for looking up a name has no time limit of its own.
    thread = Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return bool(taken)
