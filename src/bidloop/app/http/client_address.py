"""From which address a request comes, where proxies stand between."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TypeAlias

from starlette.requests import Request

from bidloop.core.errors import ConfigurationError

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(settings: Sequence[str]) -> tuple[Network, ...]:
    """The networks that settings name.

    Raises
    ------
    ConfigurationError
        For what is no network.
    """
    try:
        return tuple(ipaddress.ip_network(one) for one in settings)
    except ValueError as error:
        raise ConfigurationError(
            f"http.trusted_proxies: {error}", expected="networks such as 10.0.0.0/8", remedy="Mend the setting."
        ) from error


def address_of(request: Request, trusted: Sequence[Network]) -> str:
    """The address of who asks; empty where the connection has none.

    ``X-Forwarded-For`` is a list to which each proxy adds whom it heard, so it is read from its end, and only for as long as
    the one who wrote is trusted: all before that, anybody could have made up.
    """
    address = _plain(request.client.host) if request.client else ""
    if not trusted:
        return address
    told = [one.strip() for line in request.headers.getlist("x-forwarded-for") for one in line.split(",")]
    while told and _inside(address, trusted) and _is_address(told[-1]):
        address = _plain(told.pop())
    return address


def is_own(host: str) -> bool:
    """Whether a server that listens on this host is reached from its own machine alone.

    >>> is_own("127.0.0.1"), is_own("localhost"), is_own("::1"), is_own("0.0.0.0"), is_own("api.example")
    (True, True, True, False, False)
    """
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _plain(address: str) -> str:
    """An address; one of IPv4 that is written as one of IPv6, such as ``::ffff:192.0.2.7``, as itself."""
    mapped = getattr(ipaddress.ip_address(address), "ipv4_mapped", None) if _is_address(address) else None
    return str(mapped or address)


def _inside(address: str, trusted: Sequence[Network]) -> bool:
    return _is_address(address) and any(ipaddress.ip_address(address) in network for network in trusted)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
