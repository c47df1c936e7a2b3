"""What counts as an AE title, a host, a network, and the URL of a database."""

from __future__ import annotations

import re
from ipaddress import ip_network
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

_HOST = re.compile(r"[A-Za-z0-9_.:%-]{1,253}")


def ae_title(text: str) -> str:
    """The AE title without its surrounding blanks, which do not count (PS3.5 6.2, AE)."""
    title = text.strip(" ")
    if not 1 <= len(title) <= 16:
        raise ValueError("an AE title has 1 to 16 characters")
    if not all(" " <= character <= "~" and character != "\\" for character in title):
        raise ValueError("an AE title has printable ASCII characters, and no backslash")
    return title


def host(text: str) -> str:
    """A host name, an IPv4 or an IPv6 address."""
    if not _HOST.fullmatch(text):
        raise ValueError("not a host name or an IP address")
    return text


def network(text: str) -> str:
    """An IP address or a network in CIDR notation, without bits beyond its mask."""
    try:
        ip_network(text)
    except ValueError:
        pass
    else:
        return text
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"'{text}' is neither an IP address nor a network such as 10.1.0.0/16"
        ) from None
    raise ValueError(f"'{text}' is one machine with the mask of many; did you mean {meant}?")


def time_zone(text: str) -> str:
    """The name of a time zone in the IANA database."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"'{text}' is no time zone; write it as Europe/Berlin or UTC") from None
    return text


def database_url(text: str, may_hold_password: bool = False) -> str:
    """A URL that leads to the same rows whoever reads it. The URL is never part of a message."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError("not a database URL such as postgresql+psycopg://host/osteon") from None
    backend = url.get_backend_name()
    if backend not in {"sqlite", "postgresql"}:
        raise ValueError("only sqlite and postgresql are supported")
    if url.password is not None and not may_hold_password:
        raise ValueError("a password has no place in this file; set OSTEON_DATABASE_URL instead")
    if backend == "sqlite" and not (url.database or "").startswith("/"):
        raise ValueError("give SQLite an absolute path, as sqlite:////var/lib/osteon/osteon.sqlite")
    return text
