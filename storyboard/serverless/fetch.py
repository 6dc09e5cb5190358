"""Files from addresses that strangers name: public hosts only, within a size and a time.

A name is resolved once for each hop, every address it has must be public, and the connection goes to that very address:
no later answer of a name server can lead it elsewhere. Redirects are followed here, so that each is checked like the
first; proxies of the environment are not asked, for they would resolve the name again.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urljoin, urlsplit

REDIRECTS = (301, 302, 303, 307, 308)
PORTS = {"http": 80, "https": 443}
# They carry an IPv4 address, which a gateway may unwrap into a private one: 6to4, Teredo, NAT64, IPv4-compatible.
TUNNELS = tuple(
    ipaddress.IPv6Network(net) for net in ("2002::/16", "2001::/32", "64:ff9b::/96", "64:ff9b:1::/48", "::/96")
)
# Shared by providers and their customers, and reserved for protocols: Oracle's metadata lie in the latter, and older
# versions of Python take most of it for public. The last is Azure's own, which looks like anyone's.
INSIDE = tuple(ipaddress.IPv4Network(net) for net in ("100.64.0.0/10", "192.0.0.0/24", "168.63.129.16/32"))

Resolve = Callable[[str, int], list[str]]


class FetchError(Exception):
    """It cannot be had; the message completes a sentence that names the address."""


@dataclass(frozen=True, slots=True)
class Limits:
    """bytes: of the file. seconds: for all of it, redirects included. idle: seconds without any answer."""

    bytes: int = 64_000_000
    seconds: float = 60.0
    idle: float = 15.0
    redirects: int = 5


def addresses(host: str, port: int) -> list[str]:
    """Of a name, as the system resolves it: also what 127.1 and 0x7f000001 mean."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise FetchError(f"cannot be reached: there is no host {host}") from None
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def is_public(address: str) -> bool:
    """Whether it is a single machine on the internet: not this one, its network, nor a cloud's own services."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:  # with a zone, as fe80::1%eth0: of a link
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip.is_site_local or any(ip in tunnel for tunnel in TUNNELS):
            return False
    elif any(ip in net for net in INSIDE):
        return False
    inward = ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_unspecified
    return ip.is_global and not (inward or ip.is_multicast or ip.is_reserved)


def fetch(
    url: str,
    target: Path,
    limits: Limits = Limits(),
    resolve: Resolve = addresses,
    allowed: Callable[[str], bool] = is_public,
) -> None:
    """Write what lies at an address to a file. Raises FetchError; the file is then left incomplete."""
    line = _Line(limits.seconds)
    try:
        with line:
            for _ in range(limits.redirects + 1):
                link = _checked(url)
                with _opened(link, limits, resolve, allowed, line) as response:
                    if response.status in REDIRECTS:
                        url = _next(url, response)
                        continue
                    _save(response, target, limits)
                    if line.cut:  # which looks like the end of a file of no told length
                        raise TimeoutError
                    return
        raise FetchError(f"is redirected more than {limits.redirects} times")
    except (OSError, http.client.HTTPException, ValueError) as error:
        if line.cut:
            raise FetchError(f"took longer than {limits.seconds:g} s") from None
        raise FetchError(f"cannot be fetched ({error or type(error).__name__})") from None


def _checked(url: str) -> SplitResult:
    """An address of a kind that may be fetched."""
    if not url.isprintable() or " " in url or len(url) > 8192:
        raise FetchError("is no web address")
    try:
        link = urlsplit(url)
        port = link.port
    except ValueError as error:
        raise FetchError(f"is no web address ({error})") from None
    if link.scheme not in PORTS:
        raise FetchError("must begin with http:// or https://")
    if not link.hostname or port == 0:
        raise FetchError("names no host")
    if link.username is not None or link.password is not None:
        raise FetchError("must not hold a user or a password")
    return link


@contextlib.contextmanager
def _opened(
    link: SplitResult, limits: Limits, resolve: Resolve, allowed: Callable[[str], bool], line: _Line
) -> Generator[http.client.HTTPResponse]:
    host, port = link.hostname or "", link.port or PORTS[link.scheme]
    found = resolve(host, port)
    if not found or not all(allowed(address) for address in found):
        # Which address it is stays unsaid: it would map the inside for whoever asks.
        raise FetchError(f"leads to {host}, which is not on the public internet")
    connection = _Pinned(host, port, found, link.scheme == "https", limits.idle, line)
    try:
        path = (link.path or "/") + (f"?{link.query}" if link.query else "")
        quoted = path.encode("ascii", "strict") if path.isascii() else path.encode("utf-8")
        target = "".join(chr(byte) if byte < 128 else f"%{byte:02X}" for byte in quoted)
        connection.request("GET", target, headers={"Accept": "image/*,*/*;q=0.5", "User-Agent": "storyboard"})
        with connection.getresponse() as response:
            yield response
    finally:
        connection.close()


def _next(url: str, response: http.client.HTTPResponse) -> str:
    where = response.getheader("Location")
    if not where:
        raise FetchError(f"answers {response.status} without saying where to")
    return urljoin(url, where)


def _save(response: http.client.HTTPResponse, target: Path, limits: Limits) -> None:
    if response.status != http.client.OK:
        raise FetchError(f"answers {response.status} {response.reason}".rstrip())
    too_large = FetchError(f"is larger than {limits.bytes / 1e6:g} MB")
    if response.length is not None and response.length > limits.bytes:
        raise too_large
    got = 0
    with target.open("wb") as file:
        while part := response.read1(1 << 16):
            got += len(part)
            if got > limits.bytes:
                raise too_large
            file.write(part)
    if response.length:  # what is left of the length that was told
        raise FetchError("was cut off")


class _Line:
    """The connection that is open, cut when the time for all of it is up, whatever it waits for."""

    def __init__(self, seconds: float) -> None:
        self.cut = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._stop)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def use(self, opened: socket.socket) -> socket.socket:
        with self._lock:
            self._socket = opened
            if self.cut:
                opened.close()
        return opened

    def _stop(self) -> None:
        with self._lock:
            self.cut = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)


class _Pinned(http.client.HTTPConnection):
    """A connection to addresses that were looked at; the name is only said, in Host and to TLS."""

    def __init__(self, host: str, port: int, found: list[str], tls: bool, idle: float, line: _Line) -> None:
        super().__init__(host, port, timeout=idle)
        self.default_port = PORTS["https" if tls else "http"]
        self._found, self._idle, self._line = found, idle, line
        self._context = ssl.create_default_context() if tls else None

    def connect(self) -> None:
        self.sock = self._reached()
        if self._context is not None:
            tls = self._context.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
            self.sock = self._line.use(tls)
            tls.do_handshake()

    def _reached(self) -> socket.socket:
        """The first of its addresses that answers."""
        trouble: OSError | None = None
        for address in self._found:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            opened = self._line.use(socket.socket(family, socket.SOCK_STREAM))
            opened.settimeout(self._idle)
            try:
                opened.connect((address, self.port))
                return opened
            except OSError as error:
                trouble = error
                opened.close()
        raise trouble or OSError("no address")
