"""The front end's files as they lie in the package: read once, named by their common hash.

A page names its files as ``/static/<build>/...``, and modules import each other by relative
addresses, so the hash carries through: a file may be cached for ever, and a new version has new
addresses without a build step.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Final, NamedTuple

#: The platform's own table differs from machine to machine; a module of the wrong type never runs.
_MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
_IMPORT = re.compile(
    r"""(?:^|;)\s*(?:import|export)\b[^"';]*?["'](\.{1,2}/[^"']+)["']""", re.MULTILINE
)


#: What shrinks by half and more; pictures and fonts are compressed in themselves.
_SHRINKS: Final = ("text/", "image/svg")


class Asset(NamedTuple):
    """One file and what is told about it; ``packed`` is its gzip form, empty where that saves nothing."""

    body: bytes
    media_type: str
    packed: bytes = b""


class Assets:
    """Every file under ``static/``, by its path there, and the HTML templates."""

    def __init__(self) -> None:
        here = files(__package__)
        self.files: dict[str, Asset] = {}
        self._read(here / "static", "")
        digest = hashlib.sha256()
        for path, asset in sorted(self.files.items()):
            digest.update(f"{path}\0{len(asset.body)}\0".encode())
            digest.update(asset.body)
        #: Changes when any file changes.
        self.build = digest.hexdigest()[:12]
        self.templates = {
            entry.name: entry.read_text("utf-8") for entry in (here / "html").iterdir()
        }

    def _read(self, folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            path = f"{prefix}{entry.name}"
            if entry.is_dir():
                self._read(entry, f"{path}/")
            else:
                self.files[path] = asset_of(path, entry.read_bytes())

    def modules_of(self, path: str) -> list[str]:
        """A module and all that it imports, directly or not: what a page should fetch at once."""
        found = [path]
        for module in found:  # grows while it is walked
            for name in _IMPORT.findall(self.files[module].body.decode()):
                target = _resolve(module, name)
                if target not in found:
                    found.append(target)
        return found


def asset_of(path: str, body: bytes) -> Asset:
    """A file as it is served. The same bytes give the same ``packed``."""
    kind = media_type(path)
    packed = gzip.compress(body, mtime=0) if kind.startswith(_SHRINKS) else b""
    return Asset(body, kind, packed if len(packed) < len(body) else b"")


def media_type(path: str) -> str:
    """The media type of a file, by its ending."""
    ending = PurePosixPath(path).suffix
    return _MEDIA_TYPES.get(ending) or mimetypes.guess_type(path)[0] or "application/octet-stream"


def _resolve(module: str, name: str) -> str:
    parts = list(PurePosixPath(module).parent.parts)
    for part in PurePosixPath(name).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
