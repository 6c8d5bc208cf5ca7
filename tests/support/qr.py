"""Reads what a QR code on a page says, as far as a test needs it: whether it is the code of a given text."""

import re

import segno


def drawn(html: str) -> list[frozenset[tuple[int, int]]]:
    """The dark modules of every QR code on a page, by row and column, without the quiet zone."""
    codes = re.findall(r'<svg[^>]*viewBox="0 0 (\d+) \1"[^>]*>(.*?)</svg>', html, re.DOTALL)
    lines = [re.findall(r"<path[^>]*stroke[^>]*>", inside) for _size, inside in codes]
    return [_modules(paths) for paths in lines if paths]


def _modules(paths: list[str]) -> frozenset[tuple[int, int]]:
    """The lines of segno's path ("M4 4.5h7m2 0h1m-10 1h1…") as modules; the pen is moved before each line."""
    found: set[tuple[int, int]] = set()
    for path in paths:
        data = re.search(r'\sd="([^"]+)"', path)
        assert data, path
        x, y = 0.0, 0.0
        for command, numbers in re.findall(r"([Mmh])([^Mmh]*)", data[1]):
            values = [float(number) for number in re.findall(r"-?[\d.]+", numbers)]
            if command == "h":
                found |= {(int(y), int(x) + step) for step in range(int(values[0]))}
                x += values[0]
            else:
                x, y = (values[0], values[1]) if command == "M" else (x + values[0], y + values[1])
    top = min((row for row, _column in found), default=0)
    left = min((column for _row, column in found), default=0)
    return frozenset((row - top, column - left) for row, column in found)


def says(text: str) -> frozenset[tuple[int, int]]:
    """The dark modules of the QR code of a text."""
    matrix = segno.make(text, error="m", micro=False).matrix
    return frozenset((y, x) for y, row in enumerate(matrix) for x, dark in enumerate(row) if dark)
