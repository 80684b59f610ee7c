"""The pages as files and responses: complete, self-contained, locked down, and true to the server."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator
from itertools import pairwise
from xml.etree import ElementTree as ET

import httpx
import pytest
import segno

from engine import limits
from engine.errors import CODES
from engine.model import SessionSettings
from engine.phases import Phase
from engine.pins import PinStyle
from engine.wire import PROTOCOL_VERSION
from serve_app.errors import CLOSE_CODES
from serve_app.pages import app
from serve_app.pages.app import PAGES, create_pages_app, join_url
from serve_app.pages.assets import Assets
from serve_app.rate import Rate

_PUBLIC = "http://192.0.2.7:8000"
_TEXT_ENDINGS = (".js", ".css", ".svg", ".html")


@pytest.fixture(scope="module")
def assets() -> Assets:
    return Assets()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_pages_app(_PUBLIC))
    async with httpx.AsyncClient(transport=transport, base_url="http://quiz.test:8000") as client:
        yield client


def sources(assets: Assets) -> dict[str, str]:
    """Our own text files by path, what others wrote (vendor) left out."""
    found = {
        path: asset.body.decode()
        for path, asset in assets.files.items()
        if path.endswith(_TEXT_ENDINGS) and not path.startswith("vendor/")
    }
    return found | assets.templates


def facts(assets: Assets) -> str:
    return assets.files["js/lib/facts.js"].body.decode()


@pytest.mark.parametrize("page", PAGES)
async def test_page_names_only_files_that_exist(client, page):
    response = await client.get("/" if page == "landing" else f"/{page}")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "{{" not in response.text
    names = re.findall(r'(?:src|href)="(/[^"]*)"', response.text)
    assert any(name.endswith(f"/js/pages/{page}.js") for name in names)
    for name in names:
        assert (await client.get(name)).status_code == 200, name


def test_every_import_leads_to_a_file_and_a_name(assets):
    for path, text in sources(assets).items():
        if not path.endswith(".js"):
            continue
        imports = re.findall(r'import \{([^}]+)\} from "([^"]+)"', text)
        assert len(imports) == len(re.findall(r"^import ", text, re.MULTILINE)), path
        for target, (names, _) in zip(assets.modules_of(path)[1:], imports, strict=False):
            assert target in assets.files, (path, target, names)


def test_every_imported_name_is_exported_and_used(assets):
    for path, text in sources(assets).items():
        for names, origin in re.findall(r'import \{([^}]+)\} from "([^"]+)"', text):
            base = path.rsplit("/", 1)[0].split("/")
            for part in origin.split("/"):
                if part == "..":
                    base = base[:-1]
                elif part != ".":
                    base = [*base, part]
            exported = assets.files["/".join(base)].body.decode()
            for name in (name.strip() for name in names.split(",") if name.strip()):
                assert re.search(rf"export\b.*\b{name}\b", exported), (path, name)
                assert len(re.findall(rf"\b{name}\b", text)) > 1, (path, name)


def test_every_file_of_a_style_sheet_exists(assets):
    for path, text in sources(assets).items():
        if path.endswith(".css"):
            for name in re.findall(r'url\("([^"]+)"\)', text):
                assert f"vendor/{name.rsplit('/', 1)[1]}" in assets.files, name


def test_no_address_outside_is_named(assets):
    for path, asset in assets.files.items():
        if path.endswith((".txt", ".woff2")):
            continue
        found = set(re.findall(r"(?:https?:)?//[\w.-]+\.[a-z]{2,}[^\s\"']*", asset.body.decode()))
        # The name of a vocabulary, not a place to fetch from.
        assert {name for name in found if "www.w3.org/2000/svg" not in name} == set(), path


def test_what_others_wrote_has_its_licence_beside_it(assets):
    vendored = {path for path in assets.files if path.startswith("vendor/")}
    licences = {path for path in vendored if "LICENSE" in path}
    assert {path.removeprefix("vendor/").split(".")[0] for path in licences} == {
        "preact-htm",
        "bricolage-grotesque",
    }
    for path in vendored - licences:
        assert path.removeprefix("vendor/").startswith(("preact-htm", "bricolage-grotesque"))


def test_no_source_opens_a_way_around_the_escaping(assets):
    for path, text in sources(assets).items():
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text
        ), path
        # Exists on https and localhost only; phones in a LAN come over plain http.
        assert "randomUUID" not in text.replace("// crypto.randomUUID", ""), path
        assert "Date.now" not in text, f"{path}: the client's clock may be wrong"


@pytest.mark.parametrize("page", ["page.html", "not_found.html"])
def test_html_has_neither_inline_script_nor_inline_style(assets, page):
    text = assets.templates[page]
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", text)
    assert '<html lang="en"' in text
    assert "user-scalable" not in text


async def test_policy_allows_this_site_only(client):
    headers = (await client.get("/play?pin=123456")).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["img-src"] == "'self'"
    assert policy["connect-src"] == "'self' ws://quiz.test:8000 wss://quiz.test:8000"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["evil; script-src *", "a b", "x'y", "*", ""])
async def test_strange_host_header_adds_nothing_to_the_policy(client, host):
    response = await client.get("/", headers={"host": host})
    assert "connect-src 'self';" in response.headers["content-security-policy"]


async def test_pages_are_checked_each_time_and_files_kept_for_ever(client, assets):
    page = await client.get("/")
    assert page.headers["cache-control"] == "no-cache"
    again = await client.get("/", headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    script = await client.get(f"/static/{assets.build}/js/pages/play.js")
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert script.headers["x-content-type-options"] == "nosniff"


async def test_files_are_compressed_for_those_who_take_it(client, assets):
    path = f"/static/{assets.build}/js/pages/play.js"
    plain = await client.get(path, headers={"accept-encoding": "identity"})
    packed = await client.get(path, headers={"accept-encoding": "gzip, br"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert {r.headers["vary"] for r in (plain, packed)} == {"accept-encoding"}
    font = next(path for path in assets.files if path.endswith(".woff2"))
    assert "vary" not in (await client.get(f"/static/{assets.build}/{font}")).headers


def test_what_a_phone_fetches_is_small(assets):
    modules = assets.modules_of("js/pages/play.js")
    sheets = [f"css/{name}.css" for name in ("base", "quiz", "play")]
    files = [assets.files[path] for path in (*modules, *sheets)]
    assert sum(len(one.packed or one.body) for one in files) < 60_000


async def test_file_of_another_build_is_served_but_not_kept(client):
    response = await client.get("/static/0123456789ab/js/pages/play.js")
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/static/x/nothing.js",
        "/qr/12345.svg",
        "/qr/12345a.svg",
        "/qr/1234567.svg",
    ],
)
async def test_unknown_address_is_a_page_that_says_so(client, path):
    response = await client.get(path)
    assert response.status_code == 404
    assert "Nothing here" in response.text
    assert response.headers["cache-control"] == "no-store"
    assert "content-security-policy" in response.headers


async def test_qr_code_holds_the_join_address(client):
    response = await client.get("/qr/071118.svg")
    assert response.headers["content-type"] == "image/svg+xml"
    drawn = modules_of(response.text)
    expected = segno.make_qr(f"{_PUBLIC}/play?pin=071118", error="m")
    assert drawn == [[bool(module) for module in row] for row in expected.matrix]
    assert join_url(_PUBLIC, "071118") == f"{_PUBLIC}/play?pin=071118"


@pytest.mark.parametrize("pin", ["071118", "12345678", "BCDFGH"])
async def test_every_style_of_pin_has_a_qr_code(client, pin):
    assert (await client.get(f"/qr/{pin}.svg")).status_code == 200


async def test_so_many_qr_codes_are_drawn_for_an_address(monkeypatch):
    most = limits.QR_CODES_BURST_MAX
    monkeypatch.setattr(app, "_QR_RATE", Rate(1e-9, most))
    transport = httpx.ASGITransport(create_pages_app(_PUBLIC))
    async with httpx.AsyncClient(transport=transport, base_url="http://quiz.test") as client:

        async def draw(address):
            response = await client.get("/qr/071118.svg", headers={"x-forwarded-for": address})
            return response.status_code

        assert [await draw("192.0.2.1") for _ in range(most + 1)] == [200] * most + [429]
        assert await draw("192.0.2.2") == 200


@pytest.mark.parametrize("style", PinStyle)
async def test_the_start_page_knows_how_pins_look(style):
    transport = httpx.ASGITransport(create_pages_app(_PUBLIC, style))
    async with httpx.AsyncClient(transport=transport, base_url="http://quiz.test") as client:
        text = (await client.get("/")).text
    assert f'<meta name="rayquiz-pin-style" content="{style}">' in text


def test_every_style_of_pin_is_known_to_the_pages(assets):
    text = assets.files["js/lib/pins.js"].body.decode()
    block = text.split("const STYLES = {")[1].split("};")[0]
    assert re.findall(r"^  (\w+): ", block, re.MULTILINE) == list(PinStyle)


def modules_of(svg: str) -> list[list[bool]]:
    """The dark modules that an SVG of segno draws, without its border."""
    root = ET.fromstring(svg)
    size = int(root.attrib["viewBox"].split()[2])
    border = 4
    grid = [[False] * size for _ in range(size)]
    x = y = 0.0
    path = next(e.attrib["d"] for e in root if e.attrib.get("class") == "qrline")
    for command, values in re.findall(r"([Mmh])([-\d. ]+)", path):
        numbers = [float(value) for value in values.split()]
        if command == "h":
            for column in range(int(x), int(x + numbers[0])):
                grid[int(y)][column] = True
            x += numbers[0]
        else:
            x, y = (numbers[0], numbers[1]) if command == "M" else (x + numbers[0], y + numbers[1])
    return [row[border:-border] for row in grid[border:-border]]


def test_error_texts_cover_every_code(assets):
    block = facts(assets).split("ERROR_TEXTS = {")[1].split("\n};")[0]
    assert set(re.findall(r"^  (\w+): \"", block, re.MULTILINE)) == set(CODES)


def test_close_codes_are_the_servers(assets):
    block = facts(assets).split("CLOSE_CODES = {")[1].split("\n};")[0]
    found = {
        name: (int(code), reconnect == "true")
        for code, name, reconnect in re.findall(
            r"(\d{4}): \{\s*name: \"(\w+)\",\s*reconnect: (\w+),", block
        )
    }
    expected = {name: (entry.code, entry.reconnect) for name, entry in CLOSE_CODES.items()}
    assert found == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROTOCOL_VERSION", PROTOCOL_VERSION),
        ("PIN_DIGITS", limits.PIN_DIGITS),
        ("PIN_LONG_DIGITS", limits.PIN_LONG_DIGITS),
        ("PIN_LETTERS", limits.PIN_LETTERS),
        ("NICKNAME_CHARS_MAX", limits.NICKNAME_CHARS_MAX),
        ("RETURN_CODE_DIGITS", limits.RETURN_CODE_DIGITS),
        ("TYPED_CHARS_MAX", limits.TYPED_CHARS_MAX),
        ("QUIZ_BYTES_MAX", limits.QUIZ_BYTES_MAX),
        ("TOKEN_RENEW_S", limits.TOKEN_RENEW_S),
        ("TICKET_LIFE_S", limits.TICKET_LIFE_S),
        ("ROSTER_PAGE_ROWS_MAX", limits.ROSTER_PAGE_ROWS_MAX),
        ("REMOVED_AT_ONCE_MAX", limits.REMOVED_AT_ONCE_MAX),
    ],
)
def test_bounds_are_the_servers(assets, name, value):
    assert f"export const {name} = {value};" in facts(assets)


def test_extension_is_allowed(assets):
    extend_ms = int(re.search(r"EXTEND_MS = (\d+);", facts(assets))[1])
    assert limits.EXTEND_MS_MIN <= extend_ms <= limits.EXTEND_MS_MAX


@pytest.mark.parametrize("page", ["play", "host", "board"])
def test_every_phase_has_its_screen(assets, page):
    text = assets.files[f"js/pages/{page}.js"].body.decode()
    # The last one is the default of the switch.
    for phase in set(Phase) - {Phase.CANCELLED}:
        assert f'case "{phase}":' in text, phase


def test_settings_offered_are_the_sessions(assets):
    text = assets.files["js/parts/settings.js"].body.decode()
    block = text.split("const START = {")[1].split("};")[0]
    names = re.findall(r"(\w+):", block)
    assert names == list(inspect.signature(SessionSettings).parameters)


def test_every_possible_choice_has_letter_shape_and_colours(assets):
    shapes = assets.files["js/parts/shapes.js"].body.decode()
    assert len(set(re.findall(r'letter: "(\w)"', shapes))) == limits.CHOICES_MAX
    assert len(set(re.findall(r'name: "([\w ]+)"', shapes))) == limits.CHOICES_MAX
    colours = re.findall(
        r"\.c\d \{ --choice: (#\w+); --on-choice: (#\w+); \}",
        assets.files["css/quiz.css"].body.decode(),
    )
    assert len({choice for choice, _ in colours}) == limits.CHOICES_MAX
    for choice, text in colours:
        assert contrast(choice, text) >= 4.5, choice


def themes(assets):
    """The colours of the dark theme, and of the light one as the system and as the switch ask for it."""
    dark, _, rest = assets.files["css/base.css"].body.decode().partition("@media (prefers-color-")
    by_system, _, rest = rest.partition(':root[data-theme="light"] {')
    by_switch = rest.partition("}")[0]
    return [
        dict(re.findall(r"--([\w-]+): ([^;]+);", text)) for text in (dark, by_system, by_switch)
    ]


def test_the_light_theme_is_the_same_by_system_and_by_switch(assets):
    dark, by_system, by_switch = themes(assets)
    assert by_system == by_switch
    assert len(by_switch) > 10
    assert set(by_switch) < set(dark)


@pytest.mark.parametrize("theme", [0, 2], ids=["dark", "light"])
@pytest.mark.parametrize(
    ("text", "background"),
    [
        (text, background)
        for background in ("night", "night-2", "night-3")
        for text in ("text", "quiet", "accent", "good", "bad")
    ]
    + [("ink", name) for name in ("paper", "sun", "mint", "coral", "silver", "bronze")]
    + [("ink-quiet", "paper")],
)
def test_text_can_be_read_on_its_background(assets, theme, text, background):
    colours = themes(assets)[0] | themes(assets)[theme]
    assert contrast(colours[text], colours[background]) >= 4.5
    # The edge of a field or button, time left, the ring of the focus (WCAG 1.4.11).
    for edge in ("line", "gauge"):
        for behind in ("night", "night-2"):
            assert contrast(colours[edge], colours[behind]) >= 3


def contrast(one: str, other: str) -> float:
    """Contrast of two colours. Source: WCAG 2.2, relative luminance."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
    parts = [int(digits[i:j], 16) / 255 for i, j in pairwise((0, 2, 4, 6))]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
