"""The address that a request came from, as a key for limits; proxies are believed only when named.

HAProxy appends the address that it was reached from to ``X-Forwarded-For``, and so does every proxy in
front of HAProxy. Whatever stands further left came with the request, and anybody can write it. So the
header is read from the right, and the first address that is no trusted proxy's is the client's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from engine import limits

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: The key of requests whose peer has no address, as on a Unix socket.
UNKNOWN: Final = "unknown"
#: The keys of requests that this machine makes: limits by address do not hold for them, since those who
#: can make them have the machine. HAProxy reaches a replica from there. Not all of 127.0.0.0/8.
OWN: Final = frozenset({"127.0.0.1", "::1"})
#: Bits of an IPv6 address that tell a subscriber; the other half is the subscriber's to choose
#: (RFC 6177, RFC 4291 section 2.5.1).
_IPV6_PREFIX: Final = 64
#: Texts whose addresses are remembered; reading one takes some microseconds.
_REMEMBERED_MAX: Final = 4_096
#: Characters of an entry that are looked at; the longest address with a scope and a port is shorter.
_ENTRY_CHARS_MAX: Final = 80
_PORT: Final = r"(?::[0-9]{1,5})?"
_ENTRY: Final = re.compile(rf"\[(?P<v6>[^\]]+)\]{_PORT}|(?P<v4>[0-9.]+){_PORT}|[^\[\]]+")


class ClientAddresses:
    """Tells where requests came from.

    Args:
        proxies: addresses and CIDR networks of the proxies in front of HAProxy, and of HAProxy on
            other nodes. HAProxy on this machine is always believed.

    Raises:
        ValueError: an entry of ``proxies`` is neither an address nor a network.
    """

    def __init__(self, proxies: Iterable[str] = ()) -> None:
        self._trusted = [ipaddress.ip_network(entry) for entry in (*OWN, *proxies)]
        self._read = lru_cache(_REMEMBERED_MAX)(self._read_entry)

    def of(self, scope: Mapping[str, Any]) -> str:
        """The client of an ASGI scope (HTTP or websocket): its IPv4 address, or its IPv6 /64.

        ``192.0.2.7`` or ``2001:db8:0:1::/64``; an IPv4 address that is written as IPv6 is the IPv4
        address. When an entry of the header cannot be read, or all that were read are trusted, it is
        the last address that was read.
        """
        peer = scope.get("client")
        if not peer:
            return UNKNOWN
        key, trusted = self._read(peer[0])
        if key is None:
            return UNKNOWN
        if not trusted:
            return key
        for hop, entry in enumerate(_from_the_right(scope["headers"])):
            before, trusted = self._read(entry)
            if before is None:
                break
            key = before
            if not trusted or hop + 1 == limits.PROXIES_MAX:
                break
        return key

    def _read_entry(self, entry: str) -> tuple[str | None, bool]:
        """The key of an entry, None where it is no address; and whether it is a trusted proxy's."""
        address = _address_of(entry)
        if address is None:
            return None, False
        trusted = any(address in network for network in self._trusted)
        if address.version == 4 or str(address) in OWN:  # noqa: PLR2004
            return str(address), trusted
        return str(ipaddress.ip_network((address.packed, _IPV6_PREFIX), strict=False)), trusted


def _from_the_right(headers: list[tuple[bytes, bytes]]) -> Iterator[str]:
    """The entries of all ``X-Forwarded-For`` headers, the last one first; no further than is asked."""
    for name, value in reversed(headers):
        if name == b"x-forwarded-for":
            rest = value
            while rest:
                rest, _, entry = rest.rpartition(b",")
                # Cut, so that no long one is remembered; an entry that was cut is no address.
                yield entry.strip()[:_ENTRY_CHARS_MAX].decode("latin-1")


def _address_of(entry: str) -> _Address | None:
    """An address, with or without a port, as proxies write it: ``192.0.2.7:80``, ``[2001:db8::1]:80``."""
    found = _ENTRY.fullmatch(entry)
    if found is None:
        return None
    try:
        address = ipaddress.ip_address(found["v6"] or found["v4"] or entry)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
