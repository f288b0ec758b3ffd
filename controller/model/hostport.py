"""Host ports: when two of them cannot be had side by side. Who holds one at this moment is the engine room's."""

from __future__ import annotations

from ipaddress import ip_address

HostPort = tuple[str, int, str]
"""Address (or "" for all of them), number, protocol."""


def clash(one: HostPort, other: HostPort) -> bool:
    """Whether both cannot be bound: one number and protocol, and the same address or all of them."""
    return one[1:] == other[1:] and (
        _is_any(one[0]) or _is_any(other[0]) or _plain(one[0]) == _plain(other[0])
    )


def _is_any(address: str) -> bool:
    return address in ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound


def _plain(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)
