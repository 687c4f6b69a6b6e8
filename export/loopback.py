"""Servers on this machine are reached directly, whatever proxy the environment names for others."""

import ipaddress
from urllib.parse import urlsplit


def is_loopback(url: str) -> bool:
    """Whether the host of ``scheme://host:port/…`` is this machine: localhost, 127.0.0.0/8, ::1, 0.0.0.0 or ::."""
    host = ""
    try:
        host = urlsplit(url).hostname or ""
        address = ipaddress.ip_address(host)
    except ValueError:  # a name, or no URL
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def proxies_for(url: str) -> dict[str, str] | None:
    """The ``proxies`` argument of Requests for a URL: none for this machine, the environment's for others."""
    return {"no_proxy": urlsplit(url).hostname or ""} if is_loopback(url) else None
