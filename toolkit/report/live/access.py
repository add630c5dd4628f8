"""Who may read a served report: names of the host, and a token outside this computer."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

COOKIE = 'ablakit'
_LOCAL = ('localhost', '127.0.0.1', '::1')


@dataclass(frozen=True)
class Access:
    """Rules for the requests to a server.

    Attributes:
        host: the name or address that it listens at.
        token: that a reader must give; '' where only this computer can connect.
    """

    host: str
    token: str = field(repr=False, default='')

    @classmethod
    def for_host(cls, host: str) -> Access:
        """Makes the rules for an address: readers of other computers need a token."""
        return cls(host, '' if is_loopback(host) else secrets.token_urlsafe(24))

    def allows_name(self, header: str | None) -> bool:
        """Tells whether a `Host` header names this server.

        A page of another site can lead its own name to this address (DNS rebinding); the browser
        then sends that name.
        """
        try:
            name = urlsplit(f'//{header or ""}').hostname
        except ValueError:
            return False
        if not name:
            return False
        if name in _LOCAL or name == self.host.lower():
            return True
        # An address is no name that could lead elsewhere; others than this computer give a token.
        return bool(self.token) and (is_address(name) or name == socket.gethostname().lower())

    def allows_reader(self, query: str, cookies: str | None) -> bool:
        """Tells whether a request carries the token, in its address or its cookie."""
        if not self.token:
            return True
        # A cookie of another server of this host may hold anything, at which SimpleCookie gives up.
        pairs = [entry.strip().partition('=') for entry in (cookies or '').split(';')]
        given = [*parse_qs(query).get('token', ()), *(v for name, _, v in pairs if name == COOKIE)]
        return any(hmac.compare_digest(g.encode(), self.token.encode()) for g in given)


def is_loopback(host: str) -> bool:
    """Tells whether an address can be reached from this computer only."""
    if is_address(host):
        return ipaddress.ip_address(host).is_loopback
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(str(a)).is_loopback for a in found)


def is_address(host: str) -> bool:
    """Tells whether a host is given as an address, not as a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
