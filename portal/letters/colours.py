"""The clinic's colour in a mail: its hue as plain RGB, which every mail program takes.

The pages name their colours in OKLCH and let the browser work them out (static/css/portal.css). A mail can't, so they
are worked out here, for light and for dark: lightness and chroma are ours, the hue alone is the clinic's.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import cos, radians, sin


@dataclass(frozen=True)
class Shades:
    """What a mail paints with, each as `#rrggbb`: the paper, the sheet on it, lines, words, and the button."""

    paper: str
    sheet: str
    line: str
    ink: str
    soft: str
    brand: str
    fill: str
    on_fill: str


@lru_cache(maxsize=8)
def light(hue: int) -> Shades:
    """By day."""
    return Shades(
        paper=rgb(0.966, 0.011, 85),
        sheet=rgb(0.994, 0.004, 85),
        line=rgb(0.885, 0.016, 82),
        ink=rgb(0.25, 0.02, 60),
        soft=rgb(0.43, 0.02, 65),
        brand=rgb(0.40, 0.08, hue),
        fill=rgb(0.41, 0.078, hue),
        on_fill="#ffffff",
    )


@lru_cache(maxsize=8)
def dark(hue: int) -> Shades:
    """By night."""
    return Shades(
        paper=rgb(0.185, 0.009, 70),
        sheet=rgb(0.225, 0.010, 70),
        line=rgb(0.34, 0.013, 70),
        ink=rgb(0.94, 0.012, 85),
        soft=rgb(0.77, 0.015, 80),
        brand=rgb(0.83, 0.085, hue),
        fill=rgb(0.81, 0.085, hue),
        on_fill=rgb(0.20, 0.03, hue),
    )


def rgb(lightness: float, chroma: float, hue: float) -> str:
    """An OKLCH colour as `#rrggbb`; what sRGB can't show loses chroma until it can.

    The numbers are those of Björn Ottosson's "A perceptual color space for image processing", 2020.
    """
    while True:
        linear = _linear(lightness, chroma, hue)
        if chroma == 0 or all(-0.0005 <= part <= 1.0005 for part in linear):
            return "#" + "".join(f"{round(255 * _gamma(min(max(part, 0), 1))):02x}" for part in linear)
        chroma = max(chroma - 0.002, 0)


def _linear(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    a, b = chroma * cos(radians(hue)), chroma * sin(radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def _gamma(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
