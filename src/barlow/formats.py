"""Numbers and text as people read them. What comes from a run passes `text` before it is markup."""

import html
import math
import re
from datetime import datetime, timezone

Number = int | float
"""What is shown; spelt out because runtime type checks do not take an int for a float."""
ENOUGH_DIGITS = 3
"""Significant digits of a measured number on the page."""


def text(value: object) -> str:
    """Return `value` with every character that means something to HTML escaped, quotes too."""
    return html.escape(str(value), quote=True)


def printable(said: str) -> str:
    r"""Return a text that every encoding of Unicode has: bytes of a file name that are no text as \xe4.

    >>> printable("k\udce4se.png")
    'k\\xe4se.png'
    """
    shown = re.sub("[\udc80-\udcff]", lambda one: f"\\x{ord(one[0]) - 0xDC00:02x}", said)
    return shown.encode(errors="backslashreplace").decode()


def number(value: Number, digits: int = ENOUGH_DIGITS) -> str:
    """Return a number with thousands separators and as many decimals as `digits` significant ones need.

    >>> number(70.8712), number(1122.4), number(0.00512), number(1.5e-7), number(-3.0)
    ('70.9', '1,122', '0.00512', '1.5e−7', '−3')
    """
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else ("infinite" if value > 0 else "−infinite")
    size = abs(value)
    if size == 0.0:
        return "0"
    if size < 1e-4 or size >= 1e9:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return _minus(f"{_trim(mantissa)}e{int(exponent)}")
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    return _minus(_trim(f"{value:,.{decimals}f}"))


def percent(share: Number, decimals: int = 1) -> str:
    """Return a share between 0 and 1 as a percentage.

    >>> percent(0.9312), percent(1.0)
    ('93.1%', '100.0%')
    """
    return _minus(f"{100.0 * share:.{decimals}f}%") if math.isfinite(share) else number(share)


def points(difference: Number) -> str:
    """Return a difference of two shares in percentage points, without sign.

    >>> points(-0.0312)
    '3.1 points'
    """
    return f"{100.0 * abs(difference):.1f} points"


def with_spread(mean: Number, spread: Number | None) -> str:
    """Return "93.1% ± 0.8" for a mean and a standard deviation of shares; without a spread the mean alone."""
    return percent(mean) if spread is None else f"{percent(mean)} ± {100.0 * spread:.1f}"


def count(amount: Number, one: str, many: str = "") -> str:
    """Return an amount with its noun.

    >>> count(1, "epoch"), count(1438, "image"), count(2, "class", "classes")
    ('1 epoch', '1,438 images', '2 classes')
    """
    return f"{number(amount, 12)} {one if amount == 1 else many or one + 's'}"


def duration(seconds: Number) -> str:
    """Return a time span in its two largest units.

    >>> duration(7.34), duration(72.3), duration(7265), duration(183600)
    ('7.3 s', '1 min 12 s', '2 h 1 min', '2 d 3 h')
    """
    if seconds < 59.95:
        return f"{_trim(f'{seconds:.1f}')} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = whole // 60
    if minutes < 1440:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def moment(unix_seconds: Number) -> str:
    """Return a point in time, UTC, to the minute: the page shows the same wherever it is made."""
    return datetime.fromtimestamp(unix_seconds, tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def shape(sizes: object) -> str:
    """Return the shape (C, H, W) of an image as "28 × 28 pixels, 1 channel"; other shapes as their numbers.

    >>> shape([3, 32, 48]), shape([16000]), shape(None)
    ('48 × 32 pixels, 3 channels', '16,000', '')
    """
    if not isinstance(sizes, (list, tuple)) or not all(isinstance(size, int) for size in sizes):
        return ""
    if len(sizes) == 3:
        return f"{sizes[2]} × {sizes[1]} pixels, {count(sizes[0], 'channel')}"
    return " × ".join(number(size, 12) for size in sizes)


def _trim(digits: str) -> str:
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _minus(digits: str) -> str:
    return digits.replace("-", "−")
