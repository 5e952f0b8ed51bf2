"""The address of the client, behind the proxies that are trusted."""

from ipaddress import IPv6Address, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str | None:
    """Return the client's IP address, or None if it isn't known; of IPv6 the /64 network's.

    Each of the `DJANGO_PROXIES` proxies in front adds the address that it sees to
    X-Forwarded-For. What stands before these is the client's claim, and isn't used.
    """
    seen = [request.META.get("REMOTE_ADDR", "")]
    if settings.PROXIES:
        seen = request.headers.get("X-Forwarded-For", "").split(",")[-settings.PROXIES :]
    try:
        address = ip_address(seen[0].strip())
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        # One client usually has all addresses of a /64.
        return str(ip_network((address, 64), strict=False).network_address)
    return str(address)
