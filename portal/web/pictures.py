"""Pictures that pages draw inline."""

import segno
from markupsafe import Markup


def qr_code(text: str) -> Markup:
    """A QR code as SVG with its quiet zone, black on white in every theme: its colours are attributes, which no style
    policy forbids."""
    code = segno.make(text, error="m", micro=False)
    svg = code.svg_inline(border=4, dark="#000", light="#fff", svgclass=None, lineclass=None, omitsize=True)
    return Markup(svg)  # noqa: S704  drawn by segno: paths and numbers
