"""The pages as an ASGI application: HTML, static files, QR codes. It knows no session and no secret.

Tokens travel in the fragment of an address, so they never reach this application or its logs.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Awaitable, Callable, Iterable
from html import escape
from typing import Final

import segno
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engine import limits
from engine.pins import PinStyle, read_pin
from serve_app.client_address import OWN, ClientAddresses
from serve_app.pages.assets import Asset, Assets
from serve_app.rate import KeyedBuckets, Rate

#: Page -> its title. The page's module is ``js/pages/<page>.js``.
PAGES: Final = {
    "landing": "Join a quiz",
    "play": "Play",
    "host": "Host console",
    "board": "Big screen",
    "library": "Quiz library",
    "results": "Results",
}
_CACHE_FOR_EVER: Final = "public, max-age=31536000, immutable"
_CACHE_CHECKED: Final = "no-cache"
_CACHE_QR: Final = "public, max-age=3600"
_QR_RATE = Rate(limits.QR_CODES_PER_S_MAX, limits.QR_CODES_BURST_MAX)
_HOST = re.compile(r"[A-Za-z0-9.\-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


def create_pages_app(
    public_url: str, pin_style: PinStyle = PinStyle.DIGITS6, proxies: Iterable[str] = ()
) -> Starlette:
    """The application.

    Args:
        public_url: what phones open, without a slash at the end.
        pin_style: how the PINs of new sessions look.
        proxies: see :class:`serve_app.client_address.ClientAddresses`.
    """
    assets = Assets()
    public_url = public_url.rstrip("/")
    addresses = ClientAddresses(proxies)
    drawn = KeyedBuckets(_QR_RATE, limits.ADDRESSES_REMEMBERED_MAX)
    pages = {page: _html(assets, page, public_url, pin_style) for page in PAGES}
    not_found = assets.templates["not_found.html"].replace("{{build}}", assets.build).encode()

    def page_endpoint(page: str) -> Callable[[Request], Awaitable[Response]]:
        body = pages[page]
        etag = _etag(body)

        async def endpoint(request: Request) -> Response:
            headers = {**_page_headers(request), "cache-control": _CACHE_CHECKED, "etag": etag}
            if request.headers.get("if-none-match") == etag:
                return Response(status_code=304, headers=headers)
            return Response(body, media_type="text/html", headers=headers)

        return endpoint

    async def static(request: Request) -> Response:
        asset = assets.files.get(request.path_params["path"])
        if asset is None:
            raise HTTPException(404)
        # While replicas of two versions run, one may be asked for the other's files: the answer
        # serves, but must not be kept under that name.
        is_ours = request.path_params["build"] == assets.build
        return _file(asset, request, _CACHE_FOR_EVER if is_ours else "no-store")

    async def qr(request: Request) -> Response:
        pin = request.path_params["pin"]
        if read_pin(pin) != pin:
            raise HTTPException(404)
        address = addresses.of(request.scope)
        if address not in OWN and not drawn.take(address):
            raise HTTPException(429, headers={"retry-after": str(limits.RETRY_AFTER_MS // 1000)})
        headers = {"cache-control": _CACHE_QR, **_SAFE_HEADERS}
        return Response(qr_svg(public_url, pin), media_type="image/svg+xml", headers=headers)

    async def missing(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = {**_page_headers(request), "cache-control": "no-store", **(error.headers or {})}
        return Response(not_found, error.status_code, headers, media_type="text/html")

    return Starlette(
        routes=[
            Route("/", page_endpoint("landing")),
            *(Route(f"/{page}", page_endpoint(page)) for page in PAGES if page != "landing"),
            Route("/qr/{pin}.svg", qr),
            Route("/static/{build}/{path:path}", static),
        ],
        exception_handlers={HTTPException: missing},
    )


def join_url(public_url: str, pin: str) -> str:
    """What a phone opens to join."""
    return f"{public_url}/play?pin={pin}"


def qr_svg(public_url: str, pin: str) -> bytes:
    """The QR code of a session's join address. Dark on white whatever surrounds it."""
    out = io.BytesIO()
    code = segno.make_qr(join_url(public_url, pin), error="m")
    code.save(
        out, kind="svg", xmldecl=False, border=4, dark="#0b1720", light="#ffffff", omitsize=True
    )
    return out.getvalue()


def _file(asset: Asset, request: Request, caching: str) -> Response:
    """A file, compressed where that helps and the client takes it."""
    headers = {"cache-control": caching, "content-type": asset.media_type, **_SAFE_HEADERS}
    if not asset.packed:
        return Response(asset.body, headers=headers)
    headers["vary"] = "accept-encoding"
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(asset.body, headers=headers)
    return Response(asset.packed, headers={**headers, "content-encoding": "gzip"})


def _html(assets: Assets, page: str, public_url: str, pin_style: PinStyle) -> bytes:
    preloads = "\n".join(
        f'  <link rel="modulepreload" href="/static/{assets.build}/{path}">'
        for path in assets.modules_of(f"js/pages/{page}.js")
    )
    values = {
        "build": assets.build,
        "page": page,
        "pin_style": pin_style.value,
        "preloads": preloads,
        "public_url": escape(public_url),
        "title": escape(PAGES[page]),
    }
    text = assets.templates["page.html"]
    for name, value in values.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return text.encode()


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:16]}"'


_SAFE_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}


def _page_headers(request: Request) -> dict[str, str]:
    # 'self' covers websockets by today's standard, but not in the browsers of older phones; so the
    # host is named as well, when it looks like one.
    host = request.headers.get("host", "")
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return {
        "content-security-policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            f"font-src 'self'; connect-src 'self'{sockets}; base-uri 'none'; form-action 'self'; "
            "frame-ancestors 'none'"
        ),
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        # Pages ask a device for none of these; nor may anything that gets into one.
        "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=()",
        **_SAFE_HEADERS,
    }
