"""What AWS takes for requests: listed by Region, with a date, and what a caller gives instead.

Listed are figures that stand in AWS's Price List (service AmazonDynamoDB, groups DDB-WriteUnits, DDB-ReadUnits and
their -IA), as published readings of it have them. A Region that is not listed has prices of its own: it is reckoned at
those of us-east-1, and that is said. The price of change data units was not read from AWS.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, get_args

import msgspec

from restrike.errors import UsageError

TableClass = Literal["STANDARD", "STANDARD_INFREQUENT_ACCESS"]
Name = Literal["write", "read", "replicated-write", "change-data", "stream-read", "invocation"]
NAMES: tuple[Name, ...] = get_args(Name)
ELSEWHERE = "us-east-1"
"""Whose prices stand for those of a Region that is not listed."""
LEAST_USD = 0.001
"""Of a million units. Who gives less has given the price of one."""


class Listed(msgspec.Struct, frozen=True):
    """USD per million units, and the month in which they were so. A replicated write costs what a write does: since
    November 2024."""

    as_of: str
    write: float
    read: float


_STANDARD: dict[str, Listed] = {
    "us-east-1": Listed("2026-11", 0.625, 0.125),
    "us-east-2": Listed("2026-11", 0.625, 0.125),
    "eu-west-1": Listed("2026-10", 0.705, 0.1415),
    "ap-northeast-1": Listed("2026-09", 0.715, 0.1425),
    "ap-northeast-2": Listed("2026-06", 0.68, 0.1355),
}
_INFREQUENT_ACCESS: dict[str, Listed] = {
    "us-east-1": Listed("2026-11", 0.78, 0.155),
    "us-east-2": Listed("2026-11", 0.78, 0.155),
}
_REQUESTS: dict[str, dict[str, float]] = {
    "change-data": {"us-east-1": 0.10},
    "stream-read": {"us-east-1": 0.20},  # a GetRecords
    "invocation": {"us-east-1": 0.20, "eu-west-1": 0.20},  # of a Lambda function, without its duration
}
_REQUESTS_AS_OF = "2026-11"


class Prices(msgspec.Struct, frozen=True):
    """The prices of a Region and table class; those that were `given`, USD per million units, hold in every Region."""

    region: str
    table_class: TableClass = "STANDARD"
    given: dict[str, float] = {}

    def usd(self, name: Name, units: float, region: str | None = None) -> float:
        """Money for that many units, in another Region than its own where one is named."""
        if name in self.given:
            return units * self.given[name] / 1e6
        return units * self._listed(name, region or self.region)[0] / 1e6

    def told(self, names: Iterable[Name], regions: Iterable[str] = ()) -> str:
        """Whose prices those are that were reckoned with, and of when."""
        names = tuple(names)
        said = [f"{name} {self.given[name]:.15g}" for name in names if name in self.given]
        parts = [f"{', '.join(said)} USD a million, as given"] if said else []
        rest = [name for name in names if name not in self.given]
        if rest:
            every = tuple(dict.fromkeys((self.region, *regions)))
            found = {region: self._listed(name, region)[1:] for region in every for name in rest}
            listed = dict.fromkeys(found.values())
            parts.append("prices of " + " and ".join(f"{region}, {as_of}" for region, as_of in listed))
            strange = [region for region, (source, _) in found.items() if source != region]
            if strange:
                parts.append(f"those of {', '.join(strange)} are others and not known here: --price")
        return "; ".join(parts)

    def as_of(self, name: Name) -> str:
        """The month of a listed price."""
        return self._listed(name, self.region)[2]

    def _listed(self, name: Name, region: str) -> tuple[float, str, str]:
        """USD per million, whose price it is, and of when."""
        if name in _REQUESTS:
            source = region if region in _REQUESTS[name] else ELSEWHERE
            return _REQUESTS[name][source], source, _REQUESTS_AS_OF
        table = _INFREQUENT_ACCESS if self.table_class == "STANDARD_INFREQUENT_ACCESS" else _STANDARD
        source = region if region in table else ELSEWHERE
        listed = table[source]
        return listed.read if name == "read" else listed.write, source, listed.as_of


def given_prices(text: str | None) -> dict[str, float]:
    """`write=0.7,read=0.14`: what `--price` gives, USD per million units. UsageError where it is something else."""
    found: dict[str, float] = {}
    for part in text.split(",") if text is not None else ():
        name, _, value = (each.strip() for each in part.partition("="))
        if name not in NAMES:
            raise UsageError(f"--price {part.strip()}: there is no price {name!r}", _HINT)
        if name in found:
            raise UsageError(f"--price gives {name} twice", _HINT)
        try:
            usd = math.nan if "_" in value else float(value)  # Python's 1_0 is nobody's price
        except ValueError:
            usd = math.nan
        if not 0 <= usd < math.inf:
            raise UsageError(f"--price {name}: {value!r} is no number from 0 on", _HINT)
        if 0 < usd < LEAST_USD:
            raise UsageError(f"--price {name}={value} would be the price of one unit, and a million is meant", _HINT)
        found[name] = usd
    return found


_HINT = (
    f"USD per million units, as in --price write=0.625,read=0.125; RESTRIKE_PRICE is the same. There are "
    f"{', '.join(NAMES)}."
)
