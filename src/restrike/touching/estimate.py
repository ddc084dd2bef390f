"""What a touch would take: units, time and money; and where that is more than the table is made for."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from restrike.aws.autoscaling import PERMISSION, SERVICE, Scaling, scaling_of
from restrike.aws.session import Aws
from restrike.errors import AccessDenied, AwsError, RestrikeError, UsageError
from restrike.model import cost
from restrike.model.capacity import Capacity, capacity_of, seconds_on_one_partition
from restrike.model.numbers import figure
from restrike.model.plan import Estimate, PlanWarning
from restrike.model.prices import Prices, given_prices
from restrike.model.selection import KeyList, KeyQuery, Scan, Selection
from restrike.model.table import TableInfo
from restrike.running.flags import PLAN_TIMEOUT_S
from restrike.selecting.count import Count
from restrike.touching.pace import PaceOptions
from restrike.touching.request import TouchRequest
from restrike.wiring.beside import in_time


class Reckoned(msgspec.Struct, frozen=True):
    """The estimate, what it stands on, and what to know of it. `prices` says whose prices they are, and of when;
    `seconds_one_partition` is None where the writes go to many partition keys, and `change_data_usd`, which is in the
    estimate, where Kinesis gets none of them."""

    estimate: Estimate
    rate: str
    prices: str
    prices_as_of: str
    seconds_one_partition: float | None
    change_data_usd: float | None
    warnings: tuple[PlanWarning, ...]


class Reckoning:
    """One planning's look at units, time and money. Asks autoscaling, where capacity is provisioned."""

    def __init__(self, request: TouchRequest, aws: Aws, table: TableInfo, selection: Selection) -> None:
        self.wcu_per_item = float(cost.writes_per_item(table, request.attribute))
        self._request = request
        self._aws = aws
        self._table = table
        self._selection = selection
        self._pace = PaceOptions(request.rate, request.max_wcu)
        self._capacity: Capacity = capacity_of(table, request.attribute)
        self._prices = Prices(aws.region, table.table_class, given_prices(request.price))

    async def of(self, counted: Count, change_data_units: float | None) -> Reckoned:
        """What it takes to touch as many as were counted, with that many change data capture units."""
        items = counted.items.count
        if items is not None and self._request.limit is not None:
            items = min(items, self._request.limit)
        one = None
        if items and self._is_one_partition():
            one = seconds_on_one_partition(items, self.wcu_per_item)
        scaling, doubts = await self._scaling()
        warnings = [*self._crowding(counted), *doubts, *self._indexes()]
        if scaling:
            warnings.append(PlanWarning("autoscaling", self._raised(scaling)))
        estimate = self._estimate(items, counted.rru, one, scaled=bool(scaling or doubts))
        sent = None if change_data_units is None else self._prices.usd("change-data", change_data_units)
        if sent is not None and estimate.usd is not None:
            estimate = msgspec.structs.replace(estimate, usd=round(estimate.usd + sent, 6))
        return Reckoned(
            estimate,
            rate=self._pace.describe(self._capacity),
            prices=cost.prices_told(self._table, self._request.attribute, self._prices),
            prices_as_of=self._prices.as_of("write"),
            seconds_one_partition=one,
            change_data_usd=sent,
            warnings=tuple(warnings),
        )

    def _estimate(self, items: int | None, rru: float | None, one: float | None, *, scaled: bool) -> Estimate:
        if items is None:
            return Estimate(None, rru, None, None)
        wru = items * self.wcu_per_item
        usd = cost.usd_of_writes(self._table, self._request.attribute, wru, self._prices)
        usd += cost.usd_of_reads(self._table, rru or 0.0, self._prices)
        seconds = max(self._pace.seconds(self._capacity, items, self.wcu_per_item), one or 0.0)
        return Estimate(
            wru,
            round(rru, 1) if rru is not None else None,
            None if scaled else round(usd, 6),
            round(seconds, 1),
        )

    def _is_one_partition(self) -> bool:
        """Whether all writes go to one partition key: the table's, or that of an index that projects the marker."""
        what = self._selection.what
        if isinstance(what, KeyQuery) and what.index is None:
            return True
        if isinstance(what, KeyList | Scan) or what.index is None:
            return False
        index = self._table.index(what.index)
        if index.kind == "local" or not index.projects(self._request.attribute):
            return False
        return isinstance(what, KeyQuery) or what.first.strftime(what.format) == what.last.strftime(what.format)

    # ── what it crowds ───────────────────────────────────────────────────────────────────────────────────

    def _crowding(self, counted: Count) -> Iterator[PlanWarning]:
        """Paces that leave the application nothing, of writing and of reading."""
        table, rate = self._table, self._pace.items_per_s(self._capacity, self.wcu_per_item)
        wcu = (rate or 0.0) * self.wcu_per_item
        what = "that it takes at most (OnDemandThroughput)" if table.on_demand else "that are provisioned"
        for place in self._capacity.overfull(wcu):
            here = "" if place.share == 1 else f", up to {figure(wcu * place.share)} of them in {place},"
            yield PlanWarning(
                "exceeds-capacity",
                f"{figure(wcu)} WCU/s{here} are more than the {place.most:,} {what}: "
                "the application's writes would be throttled.",
            )
        most = table.max_read_request_units if table.on_demand else table.read_capacity
        what_is_read = self._selection.what
        if isinstance(what_is_read, KeyList) or what_is_read.index is not None or not most:
            return
        if rate is None:
            rate = self._capacity.at_once[0] / self.wcu_per_item
        rru = counted.rru or 0.0
        rcu = rru / (counted.items.count or 1) * rate
        if min(rru, rcu) > most:  # what takes less than a second's is no matter of pace
            yield PlanWarning(
                "exceeds-read-capacity",
                f"reading at that pace takes {figure(rcu)} RCU/s, more than the {most:,} {what}: "
                "the application's reads would be throttled.",
            )

    def _indexes(self) -> Iterator[PlanWarning]:
        """Indexes that each touch writes too."""
        attribute = self._request.attribute
        projecting = self._table.indexes_projecting(attribute)
        if projecting:
            names = ", ".join(index.name for index in projecting)
            yield PlanWarning(
                "index-writes", f"each touch writes {1 + len(projecting)} times: {names} project {attribute!r}."
            )
        vectors = [index.name for index in self._table.vector_indexes if index.projects(attribute)]
        if vectors:
            yield PlanWarning(
                "vector-index-writes",
                f"each touch is written to {', '.join(vectors)} too, which project {attribute!r}: vector writes are "
                "charged by the byte, and are not in this estimate.",
            )

    # ── autoscaling ──────────────────────────────────────────────────────────────────────────────────────

    async def _scaling(self) -> tuple[tuple[Scaling, ...], list[PlanWarning]]:
        """What autoscaling may raise of what is written or read, and a warning where it cannot be known."""
        if self._table.on_demand or not self._aws.may_ask(SERVICE):
            return (), []
        timeout_s = self._request.plan_timeout_s or PLAN_TIMEOUT_S
        try:
            every = await in_time(lambda: scaling_of(self._aws, self._table), timeout_s)
        except (AwsError, UsageError, TimeoutError) as error:
            why = error.message if isinstance(error, RestrikeError) else f"no answer within {timeout_s:g} s"
            if isinstance(error, AccessDenied):
                why = f"access denied ({PERMISSION})"
            text = f"could not look for autoscaling: {why}. Where there is some, what it raises is paid by the hour."
            return (), [PlanWarning("autoscaling-unknown", text)]
        return tuple(each for each in every if self._now(each) is not None), []

    def _now(self, scaling: Scaling) -> int | None:
        """What is provisioned there; None where the touch takes nothing of it, or it may not be raised further."""
        if scaling.unit == "RCU":
            now = None if scaling.index else self._table.read_capacity
        else:
            now = next((place.most for place in self._capacity.places if place.index == scaling.index), None)
        return now if now is not None and now < scaling.most else None

    def _raised(self, scaling: tuple[Scaling, ...]) -> str:
        parts = [
            f"{'index ' + each.index if each.index else 'the table'} has {self._now(each):,} {each.unit} and may get "
            f"{each.most:,}"
            for each in scaling
        ]
        return (
            f"autoscaling may raise what is provisioned while this runs, and that is paid by the hour: "
            f"{'; '.join(parts)}."
        )
