"""What a table looks like: keys, indexes, stream, capacity; and the one way in which keys are written down."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Context, Decimal, DecimalException
from typing import Any, Literal

import msgspec

from restrike.errors import UsageError
from restrike.model.prices import TableClass

KeyType = Literal["S", "N", "B"]
Consistency = Literal["EVENTUAL", "STRONG"]
"""Of the replicas of a global table, as MultiRegionConsistency spells it."""
AttributeValue = dict[str, Any]
"""An attribute in DynamoDB JSON: `{"S": "x"}`, `{"N": "1"}`, `{"B": "<base64>"}`, …"""
Key = dict[str, AttributeValue]
"""The primary key of an item in DynamoDB JSON, in the order of the schema."""

MARKER = "restrike"
"""The attribute that a touch writes, unless another is named."""
TABLE_ID = "TableId"
"""The part of a run's identity that tells its table from a later one of the same name."""

LEGACY_GLOBAL = "2017.11.29"
"""The version of global tables before the current one: always eventual, and DescribeTable tells nothing of it."""

_DIGITS = Context(prec=40)  # DynamoDB keeps 38 significant digits; two to spare


class KeyAttribute(msgspec.Struct, frozen=True):
    """A key attribute: its name and its type, `S`, `N` or `B`."""

    name: str
    type: KeyType


class KeySchema(msgspec.Struct, frozen=True):
    """The partition key and, where there is one, the sort key."""

    partition: KeyAttribute
    sort: KeyAttribute | None = None

    @property
    def attributes(self) -> tuple[KeyAttribute, ...]:
        return (self.partition,) if self.sort is None else (self.partition, self.sort)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(attribute.name for attribute in self.attributes)


class IndexInfo(msgspec.Struct, frozen=True):
    """A secondary index. `item_count` is the service's own figure, some six hours old. Its capacities are told as those
    of a table; a local index has none of its own."""

    name: str
    kind: Literal["global", "local"]
    key: KeySchema
    projection: Literal["ALL", "KEYS_ONLY", "INCLUDE"]
    included: tuple[str, ...] = ()
    item_count: int = 0
    write_capacity: int = 0
    max_write_request_units: int | None = None
    warm_write_units_per_s: int | None = None

    def projects(self, attribute: str) -> bool:
        """Whether a change of that attribute is written to this index too."""
        return self.projection == "ALL" or attribute in self.included or attribute in self.key.names


class VectorIndexInfo(msgspec.Struct, frozen=True):
    """A vector index, with the attributes that it holds, its vector and those of its search schema among them."""

    name: str
    projection: Literal["ALL", "KEYS_ONLY", "INCLUDE"]
    included: tuple[str, ...] = ()

    def projects(self, attribute: str) -> bool:
        """Whether a change of that attribute is written to this index too."""
        return self.projection == "ALL" or attribute in self.included


class TableInfo(msgspec.Struct, frozen=True):
    """What DescribeTable says, as far as Restrike needs it.

    Provisioned capacities are in units a second, 0 on demand. `max_…_request_units` bound a table on demand, in units
    a second, None where no maximum was set. `warm_write_units_per_s` is what it takes at once, None where it does not
    tell.
    """

    name: str
    arn: str
    key: KeySchema
    indexes: tuple[IndexInfo, ...] = ()
    on_demand: bool = True
    write_capacity: int = 0
    read_capacity: int = 0
    max_write_request_units: int | None = None
    max_read_request_units: int | None = None
    warm_write_units_per_s: int | None = None
    table_class: TableClass = "STANDARD"
    vector_indexes: tuple[VectorIndexInfo, ...] = ()
    item_count: int = 0
    size_bytes: int = 0
    stream_arn: str | None = None
    view_type: str | None = None
    replica_regions: tuple[str, ...] = ()
    """Of a global table: the other Regions."""
    consistency: Consistency | None = None
    """Of a global table; None: it is none."""
    global_version: str | None = None
    status: str = "ACTIVE"
    id: str = ""
    """Tells it from a later table of its name: TableId, or where an engine has none, when it was made."""
    key_arn: str | None = None
    """The KMS key that it is encrypted under, the user's or AWS's for DynamoDB; None where it is DynamoDB's own."""

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]

    @property
    def replicates_eventually(self) -> bool:
        """Whether the last writer wins, in whatever Region, for the whole item; a condition sees this Region's copy."""
        return self.consistency == "EVENTUAL"

    def index(self, name: str) -> IndexInfo:
        """The index of that name; UsageError with the table's indexes where there is none."""
        for index in self.indexes:
            if index.name == name:
                return index
        known = ", ".join(index.name for index in self.indexes) or "none"
        raise UsageError(f"table {self.name} has no index {name!r}", f"Its indexes: {known}.")

    def key_attributes_everywhere(self) -> frozenset[str]:
        """Every attribute that is a key of the table or of any index: none of them can be a marker."""
        names = set(self.key.names)
        for index in self.indexes:
            names.update(index.key.names)
        return frozenset(names)

    def indexes_projecting(self, attribute: str) -> tuple[IndexInfo, ...]:
        return tuple(index for index in self.indexes if index.projects(attribute))


def table_info(description: Mapping[str, Any]) -> TableInfo:
    """Reads the `Table` member of a DescribeTable answer."""
    types: dict[str, KeyType] = {
        definition["AttributeName"]: definition["AttributeType"]
        for definition in description.get("AttributeDefinitions", ())
    }
    throughput = description.get("ProvisionedThroughput", {})
    on_demand = description.get("BillingModeSummary", {}).get("BillingMode") == "PAY_PER_REQUEST" or not (
        throughput.get("WriteCapacityUnits")
    )
    stream = description.get("StreamSpecification", {})
    enabled = bool(stream.get("StreamEnabled"))
    indexes: list[IndexInfo] = []
    kinds: tuple[tuple[Literal["global", "local"], str], ...] = (
        ("global", "GlobalSecondaryIndexes"),
        ("local", "LocalSecondaryIndexes"),
    )
    for kind, member in kinds:
        for index in description.get(member, ()):
            projection = index.get("Projection", {})
            indexes.append(
                IndexInfo(
                    name=index["IndexName"],
                    kind=kind,
                    key=_key_schema(index["KeySchema"], types),
                    projection=projection.get("ProjectionType", "ALL"),
                    included=tuple(projection.get("NonKeyAttributes", ())),
                    item_count=index.get("ItemCount", 0),
                    write_capacity=index.get("ProvisionedThroughput", {}).get("WriteCapacityUnits", 0),
                    max_write_request_units=_maximum(index, "MaxWriteRequestUnits"),
                    warm_write_units_per_s=_warm(index),
                )
            )
    arn: str = description["TableArn"]
    # That a replica does not list itself is seen and nowhere documented: its own Region would be paid for twice.
    replicas = tuple(
        name for replica in description.get("Replicas") or () if (name := replica["RegionName"]) != arn.split(":")[3]
    )
    return TableInfo(
        name=description["TableName"],
        arn=arn,
        key=_key_schema(description["KeySchema"], types),
        indexes=tuple(indexes),
        on_demand=on_demand,
        write_capacity=0 if on_demand else throughput.get("WriteCapacityUnits", 0),
        read_capacity=0 if on_demand else throughput.get("ReadCapacityUnits", 0),
        max_write_request_units=_maximum(description, "MaxWriteRequestUnits"),
        max_read_request_units=_maximum(description, "MaxReadRequestUnits"),
        warm_write_units_per_s=_warm(description),
        table_class=description.get("TableClassSummary", {}).get("TableClass", "STANDARD"),
        vector_indexes=tuple(map(_vector_index, description.get("VectorIndexes", ()))),
        item_count=description.get("ItemCount", 0),
        size_bytes=description.get("TableSizeBytes", 0),
        stream_arn=description.get("LatestStreamArn") if enabled else None,
        view_type=stream.get("StreamViewType") if enabled else None,
        replica_regions=replicas,
        consistency=_consistency(description, replicas),
        global_version=description.get("GlobalTableVersion"),
        status=description.get("TableStatus", "ACTIVE"),
        id=_id(description),
        key_arn=description.get("SSEDescription", {}).get("KMSMasterKeyArn"),
    )


def _consistency(description: Mapping[str, Any], replicas: tuple[str, ...]) -> Consistency | None:
    """EVENTUAL where it is not told: so it is by default."""
    if not replicas and description.get("GlobalTableVersion") != LEGACY_GLOBAL:
        return None
    return "STRONG" if description.get("MultiRegionConsistency") == "STRONG" else "EVENTUAL"


def _maximum(described: Mapping[str, Any], member: str) -> int | None:
    """A bound that was set on demand; where it was taken off again the service says -1."""
    units = described.get("OnDemandThroughput", {}).get(member, -1)
    return units if units > 0 else None


def _warm(described: Mapping[str, Any]) -> int | None:
    units = described.get("WarmThroughput", {}).get("WriteUnitsPerSecond", 0)
    return units if units > 0 else None


def _vector_index(described: Mapping[str, Any]) -> VectorIndexInfo:
    projection = described.get("Projection", {})
    held = [described.get("VectorAttribute", {}), *described.get("SearchSchema", ())]
    return VectorIndexInfo(
        name=described["IndexName"],
        projection=projection.get("ProjectionType", "ALL"),
        included=(*projection.get("NonKeyAttributes", ()), *(each.get("AttributeName", "") for each in held)),
    )


def _id(description: Mapping[str, Any]) -> str:
    made = description.get("CreationDateTime")
    if description.get("TableId"):
        return str(description["TableId"])
    return f"made {made.astimezone(UTC).isoformat(timespec='milliseconds')}" if isinstance(made, datetime) else ""


def made_anew(run: str, what: str, was: str, now: str) -> UsageError:
    """That a run cannot go on, because what bears the name of its table is another table."""
    return UsageError(
        f"run {run} began with another {what}: that one was deleted, and one of its name was made (its id was {was!r}, "
        f"and is {now!r} now)",
        f"Begin anew under another --run; what it did: restrike runs show {run}",
    )


def _key_schema(elements: list[dict[str, str]], types: Mapping[str, KeyType]) -> KeySchema:
    parts = {element["KeyType"]: element["AttributeName"] for element in elements}
    sort = parts.get("RANGE")
    return KeySchema(
        partition=KeyAttribute(parts["HASH"], types[parts["HASH"]]),
        sort=KeyAttribute(sort, types[sort]) if sort is not None else None,
    )


def normal_number(text: str) -> str:
    """A number as plain digits, the way DynamoDB answers it: `3.0` → `3`, `1E5` → `100000`.

    UsageError where it is no number that DynamoDB stores (38 digits, 1E-130 to 9.9E+125).
    """
    try:
        number = Decimal(text.strip())
    except DecimalException:
        raise UsageError(f"{text!r} is not a number") from None
    if not number.is_finite() or (len(number.as_tuple().digits) > 38 and len(_significant(number)) > 38):
        raise UsageError(f"{text!r} is not a number that DynamoDB stores", "It keeps 38 significant digits.")
    if number and not -130 <= number.adjusted() <= 125:
        raise UsageError(f"{text!r} is out of DynamoDB's range of numbers", "It is 1E-130 to 9.9E+125.")
    plain = format(number.normalize(_DIGITS), "f")
    return "0" if plain in ("-0", "0") else plain


def _significant(number: Decimal) -> str:
    return "".join(map(str, number.as_tuple().digits)).strip("0")


def key_value(attribute: KeyAttribute, text: str) -> AttributeValue:
    """What a user typed, as the typed value that the schema asks for (`B`: base64)."""
    if attribute.type == "S":
        if not text:
            raise UsageError(f"the key attribute {attribute.name!r} cannot be empty")
        return {"S": text}
    if attribute.type == "N":
        try:
            return {"N": normal_number(text)}
        except UsageError as error:
            raise UsageError(f"{attribute.name!r} is a number: {error.message}", error.hint) from None
    return {"B": _base64(attribute.name, text)}


def _base64(name: str, text: str) -> str:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise UsageError(
            f"{name!r} is binary and {text!r} is not base64", "Give it as base64, for example AAECAw==."
        ) from None
    if not value:
        raise UsageError(f"the key attribute {name!r} cannot be empty")
    return base64.b64encode(value).decode()


def typed_key(schema: KeySchema, given: Mapping[str, object]) -> Key:
    """The key out of a DynamoDB-JSON or plain JSON object; attributes beside the key are left out.

    Plain values are typed by the schema. UsageError names the attribute that is missing or of another type.
    """
    key: Key = {}
    for attribute in schema.attributes:
        value = given.get(attribute.name)
        if value is None:
            raise UsageError(f"the key attribute {attribute.name!r} is missing")
        if isinstance(value, Mapping):
            if len(value) != 1 or attribute.type not in value:
                raise UsageError(f"{attribute.name!r} is not of type {attribute.type}")
            value = value[attribute.type]
        if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
            raise UsageError(f"{attribute.name!r} is not of type {attribute.type}")
        if attribute.type != "N" and not isinstance(value, str):
            raise UsageError(f"{attribute.name!r} is not of type {attribute.type}")
        key[attribute.name] = key_value(attribute, str(value))
    return key


def canonical_key(schema: KeySchema, key: Mapping[str, AttributeValue]) -> bytes:
    """One spelling per item: DynamoDB JSON, attributes in the schema's order, numbers as plain digits.

    Two services (or a file and a service) may escape and format the same key differently; these bytes are
    what keys are compared, stored and printed as.
    """
    out: Key = {}
    for attribute in schema.attributes:
        value = key[attribute.name][attribute.type]
        out[attribute.name] = {attribute.type: normal_number(value) if attribute.type == "N" else value}
    return msgspec.json.encode(out)


def sortable(attribute: KeyAttribute, value: AttributeValue) -> bytes:
    """Bytes that sort as DynamoDB sorts that key value: strings by UTF-8, numbers by size, binary by byte."""
    content: str = value[attribute.type]
    if attribute.type == "S":
        return content.encode()
    if attribute.type == "B":
        return base64.b64decode(content)
    number = Decimal(content)
    if not number:
        return b"\x80"
    # sign, then exponent, then digits; everything of a negative number is complemented, and closed by the
    # highest byte, so that -12 sorts before -1.
    digits = _significant_digits(number)
    body = (number.adjusted() + 200).to_bytes(2, "big") + digits.encode()
    if number > 0:
        return b"\x81" + body
    return b"\x7f" + bytes(255 - byte for byte in body) + b"\xff"


def _significant_digits(number: Decimal) -> str:
    digits = "".join(map(str, number.as_tuple().digits)).lstrip("0")
    return digits.rstrip("0")
