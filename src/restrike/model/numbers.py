"""Numbers as people read them."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 file`, `2,000 files`, `2 batches`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun}{'es' if noun.endswith('ch') else 's'}"


def figure(number: float) -> str:
    """`2.5`, `40`, `12,000`."""
    return f"{number:,.2f}".rstrip("0").rstrip(".") if number >= 0.01 else f"{number:g}"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 90:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def money(usd: float) -> str:
    """`$1,234.50`; what is not nothing is not shown as nothing."""
    return "less than $0.01" if 0 < usd < 0.01 else f"${usd:,.2f}"
