"""Keys: one spelling for each item, and bytes that sort as DynamoDB sorts."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from restrike.model.table import (
    AttributeValue,
    Key,
    KeyAttribute,
    KeySchema,
    KeyType,
    canonical_key,
    key_value,
    normal_number,
    sortable,
    typed_key,
)
from restrike.selecting.keyfile import sort_bytes

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
binaries = st.binary(min_size=1, max_size=8)


@st.composite
def numbers(draw: st.DrawFn) -> Decimal:
    """Every number that DynamoDB stores: 38 digits, 1E-130 to 9.9E+125, and zero."""
    digits = draw(st.integers(0, 10**38 - 1) | st.integers(0, 200))
    exponent = draw(st.integers(-130, 126 - len(str(digits))) | st.integers(-3, 3))
    number = Decimal((draw(st.integers(0, 1)), tuple(map(int, str(digits))), exponent))
    assume(not number or -130 <= number.adjusted() <= 125)
    return number


@st.composite
def spellings(draw: st.DrawFn, number: Decimal) -> str:
    """One of the many ways to write that number."""
    zeros = "0" * draw(st.integers(0, 3))
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    whole = "".join(map(str, digits))
    ways = [
        str(number),
        f"{number:E}",
        f"{number:f}",
        f"{'-' if sign else draw(st.sampled_from(['', '+']))}{zeros}{whole}{zeros}e{exponent - len(zeros)}",
        f" {number} ",
    ]
    return draw(st.sampled_from(ways))


def typed(kind: KeyType, value: Any) -> AttributeValue:
    if kind == "B":
        return {"B": base64.b64encode(value).decode()}
    return {kind: str(value)}


values: dict[KeyType, st.SearchStrategy[Any]] = {"S": texts, "N": numbers(), "B": binaries}
kinds = st.sampled_from(list(values))


def neighbours(kind: KeyType) -> st.SearchStrategy[tuple[Any, Any]]:
    """A value and one that begins with it: where an order goes wrong, it does between these."""
    if kind == "S":
        return st.tuples(texts, st.text("\0\x01a", max_size=2)).map(lambda pair: (pair[0], pair[0] + pair[1]))
    if kind == "B":
        tails = st.lists(st.sampled_from([0, 1, 255]), max_size=2).map(bytes)
        return st.tuples(binaries, tails).map(lambda pair: (pair[0], pair[0] + pair[1]))
    tenths = st.tuples(st.integers(-200, 200), st.integers(0, 9), st.integers(-3, 3))
    return tenths.map(lambda n: (Decimal(n[0]).scaleb(n[2]), Decimal(f"{n[0]}{n[1]}").scaleb(n[2] - 1)))


def pairs(kind: KeyType) -> st.SearchStrategy[tuple[Any, Any]]:
    return neighbours(kind) | neighbours(kind).map(lambda pair: pair[::-1]) | st.tuples(values[kind], values[kind])


def in_order(kind: KeyType, value: Any) -> Any:
    """What DynamoDB compares: numbers by size, strings by their UTF-8 bytes, binary by unsigned byte."""
    return value.encode() if kind == "S" else value


@given(number=numbers())
def test_a_normal_number_is_the_same_number_in_plain_digits(number: Decimal) -> None:
    plain = normal_number(str(number))
    assert Decimal(plain) == number
    assert normal_number(plain) == plain
    assert set(plain) <= set("-.0123456789")
    assert not ("." in plain and plain.endswith("0"))
    assert plain != "-0"


@given(data=st.data(), number=numbers())
def test_every_spelling_of_a_number_is_one_key(data: st.DataObject, number: Decimal) -> None:
    attribute = KeyAttribute("n", "N")
    one, other = data.draw(spellings(number)), data.draw(spellings(number))
    assert key_value(attribute, one) == key_value(attribute, other)
    schema = KeySchema(attribute)
    assert canonical_key(schema, {"n": {"N": one}}) == canonical_key(schema, {"n": {"N": other}})
    assert sortable(attribute, {"N": one.strip()}) == sortable(attribute, {"N": other.strip()})


@given(kind=kinds, data=st.data())
def test_sortable_bytes_have_the_order_of_dynamodb(kind: KeyType, data: st.DataObject) -> None:
    one, other = data.draw(pairs(kind))
    attribute = KeyAttribute("k", kind)
    low, high = sortable(attribute, typed(kind, one)), sortable(attribute, typed(kind, other))
    assert (low < high) == (in_order(kind, one) < in_order(kind, other))
    assert (low == high) == (in_order(kind, one) == in_order(kind, other))


@given(partition_kind=kinds, sort_kind=kinds, data=st.data())
def test_keys_sort_by_partition_and_then_by_sort_key(
    partition_kind: KeyType, sort_kind: KeyType, data: st.DataObject
) -> None:
    schema = KeySchema(KeyAttribute("p", partition_kind), KeyAttribute("s", sort_kind))
    keys = list(zip(data.draw(pairs(partition_kind)), data.draw(pairs(sort_kind)), strict=True))
    one, other = (
        sort_bytes(schema, {"p": typed(partition_kind, partition), "s": typed(sort_kind, sort)})
        for partition, sort in keys
    )
    expected = [(in_order(partition_kind, partition), in_order(sort_kind, sort)) for partition, sort in keys]
    assert (one < other) == (expected[0] < expected[1])


@st.composite
def schemas_and_keys(draw: st.DrawFn) -> tuple[KeySchema, dict[str, Any]]:
    partition, sort = draw(st.lists(names, min_size=2, max_size=2, unique=True))
    schema = KeySchema(
        KeyAttribute(partition, draw(kinds)), draw(st.none() | st.builds(KeyAttribute, st.just(sort), kinds))
    )
    return schema, {attribute.name: draw(values[attribute.type]) for attribute in schema.attributes}


@given(schema_and_key=schemas_and_keys(), more=st.dictionaries(names, st.integers(), max_size=3))
def test_a_key_comes_back_from_its_canonical_form(
    schema_and_key: tuple[KeySchema, dict[str, Any]], more: dict[str, int]
) -> None:
    schema, plain = schema_and_key
    key: Key = {attribute.name: typed(attribute.type, plain[attribute.name]) for attribute in schema.attributes}
    canonical = canonical_key(schema, key)
    back = typed_key(schema, json.loads(canonical))
    assert canonical_key(schema, back) == canonical
    assert list(back) == list(schema.names)
    for attribute in schema.attributes:
        found = back[attribute.name][attribute.type]
        if attribute.type == "N":
            assert Decimal(found) == plain[attribute.name]
        else:
            assert found == key[attribute.name][attribute.type]
    # Plain values, another order and attributes beside the key make no difference.
    untyped = {name: next(iter(value.values())) for name, value in reversed(key.items())}
    assert canonical_key(schema, typed_key(schema, more | untyped)) == canonical
