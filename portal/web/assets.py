"""Style sheets, scripts and pictures: addressed by their content, so that a browser may keep them for good.

They are few and small: they are read once, packed once, and answered from memory.
"""

import gzip
import mimetypes
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from flask import Flask, Response, abort, request

from portal.web.access import public

FOR_GOOD = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"
OWN_HUE = 168  # what the style sheet holds without a word from the clinic


class Asset(NamedTuple):
    """One file: its mark in the address, its type, and its bytes, packed where that makes them smaller."""

    mark: str
    type: str
    plain: bytes
    packed: bytes | None


class Assets:
    """The files below one folder. In development they are read again when they change."""

    def __init__(self, folder: Path, keep: bool) -> None:
        self._folder = folder
        self._keep = keep
        self._found: dict[str, tuple[float, Asset]] = {}

    def get(self, name: str) -> Asset | None:
        """A file by its path below the folder; None for one that isn't there."""
        known = self._found.get(name)
        if known and self._keep:
            return known[1]
        try:
            path = (self._folder / name).resolve()
            is_there = path.is_relative_to(self._folder) and path.is_file()
        except (OSError, ValueError):  # what no file can be called: too long, or with a NUL in it
            return None
        if not is_there:
            return None
        changed = path.stat().st_mtime
        if known and known[0] == changed:
            return known[1]
        asset = _read(path)
        self._found[name] = (changed, asset)
        return asset

    def url(self, name: str) -> str:
        """The address of a file, with its mark."""
        asset = self.get(name)
        assert asset is not None, f"static/{name} is missing"
        return f"/static/{name}?v={asset.mark}"


def _read(path: Path) -> Asset:
    plain = path.read_bytes()
    packed = gzip.compress(plain, mtime=0)
    type_ = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if type_.startswith("text/") or type_.endswith("javascript"):
        type_ += "; charset=utf-8"
    return Asset(sha256(plain).hexdigest()[:12], type_, plain, packed if len(packed) < len(plain) else None)


def init(app: Flask, folder: Path, keep: bool) -> None:
    """Serve the folder at /static/, and a clinic's hue at /theme-<hue>.css."""
    assets = Assets(folder.resolve(), keep)
    app.jinja_env.globals["static"] = assets.url
    app.jinja_env.globals["OWN_HUE"] = OWN_HUE

    @public
    def static(filename: str) -> Response:
        asset = assets.get(filename)
        if asset is None:
            abort(404)
        cache = FOR_GOOD if request.args.get("v") == asset.mark else ASK_AGAIN
        response = Response(content_type=asset.type, headers={"Cache-Control": cache, "Vary": "Accept-Encoding"})
        if asset.packed and request.accept_encodings["gzip"] > 0:
            response.set_data(asset.packed)
            response.headers["Content-Encoding"] = "gzip"
        else:
            response.set_data(asset.plain)
        response.set_etag(asset.mark)
        response.make_conditional(request)
        return response

    @public
    def theme(hue: int) -> Response:
        if hue > 360:
            abort(404)
        return Response(
            f":root{{--brand:{hue}}}\n",
            content_type="text/css; charset=utf-8",
            headers={"Cache-Control": FOR_GOOD},
        )

    app.add_url_rule("/static/<path:filename>", "static", static)
    app.add_url_rule("/theme-<int:hue>.css", "theme", theme)
