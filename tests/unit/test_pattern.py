from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from restrike.errors import UsageError
from restrike.model import matching
from restrike.model.pattern import MAX_DEPTH, compile_criteria

RECORD: dict[str, Any] = {
    "eventID": "1",
    "eventName": "MODIFY",
    "eventSource": "aws:dynamodb",
    "dynamodb": {
        "ApproximateCreationDateTime": 1700000000,
        "Keys": {"pk": {"S": "order#1"}},
        "NewImage": {
            "pk": {"S": "order#1"},
            "status": {"S": "Open"},
            "total": {"N": "5"},
            "paid": {"BOOL": True},
            "gone": {"NULL": True},
            "note": {"S": ""},
            "tags": {"SS": ["red", "blue"]},
            "lines": {"L": [{"M": {"sku": {"S": "a"}, "n": {"N": "1"}}}, {"M": {"sku": {"S": "b"}, "n": {"N": "2"}}}]},
            "a.b": {"S": "dotted"},
        },
        "SizeBytes": 300,
    },
}
TTL = {"eventName": "REMOVE", "userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}}


def new(**attributes: object) -> dict[str, Any]:
    return {"dynamodb": {"NewImage": attributes}}


def status(*values: object) -> dict[str, Any]:
    return new(status={"S": list(values)})


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        # values
        ({"eventName": ["MODIFY"]}, True),
        ({"eventName": ["INSERT", "MODIFY"]}, True),
        ({"eventName": ["modify"]}, False),
        ({"eventName": ["INSERT"]}, False),
        ({"eventID": [1]}, False),
        (new(total={"N": ["5"]}), True),
        (new(total={"N": [5]}), False),
        (new(paid={"BOOL": [True]}), True),
        (new(paid={"BOOL": [False]}), False),
        (new(paid={"BOOL": [1]}), False),
        (new(paid={"BOOL": ["true"]}), False),
        (new(note={"S": [""]}), True),
        (status(""), False),
        (new(absent={"S": [""]}), False),
        (new(absent={"S": [None]}), False),
        (new(**{"a.b": {"S": ["dotted"]}}), True),
        # fields are ANDed
        ({"eventName": ["MODIFY"], **status("Open")}, True),
        ({"eventName": ["INSERT"], **status("Open")}, False),
        ({"eventName": ["MODIFY"], **status("Shut")}, False),
        # strings
        (status({"equals-ignore-case": "oPEN"}), True),
        (status({"equals-ignore-case": "ope"}), False),
        (status({"prefix": "Op"}), True),
        (status({"prefix": "op"}), False),
        (status({"prefix": ""}), True),
        (status({"prefix": {"equals-ignore-case": "op"}}), True),
        (status({"prefix": {"equals-ignore-case": "en"}}), False),
        (status({"suffix": "en"}), True),
        (status({"suffix": "EN"}), False),
        (status({"suffix": {"equals-ignore-case": "EN"}}), True),
        ({"dynamodb": {"SizeBytes": [{"prefix": "3"}]}}, False),
        (status("x", {"prefix": "y"}, {"suffix": "n"}), True),
        # anything-but: a leaf must be there
        (status({"anything-but": ["Shut", "Lost"]}), True),
        (status({"anything-but": ["Shut", "Open"]}), False),
        (status({"anything-but": "Open"}), False),
        (status({"anything-but": 5}), True),
        (new(absent={"S": [{"anything-but": ["x"]}]}), False),
        (new(paid={"BOOL": [{"anything-but": "x"}]}), True),
        ({"dynamodb": {"SizeBytes": [{"anything-but": [300.0]}]}}, False),
        ({"dynamodb": {"SizeBytes": [{"anything-but": [301]}]}}, True),
        ({"dynamodb": {"SizeBytes": [{"anything-but": "300"}]}}, True),
        (status({"anything-but": {"prefix": "Op"}}), False),
        (status({"anything-but": {"prefix": ["x", "Op"]}}), False),
        (status({"anything-but": {"prefix": "Sh"}}), True),
        (status({"anything-but": {"suffix": "en"}}), False),
        (status({"anything-but": {"suffix": "ut"}}), True),
        (status({"anything-but": {"equals-ignore-case": "OPEN"}}), False),
        (status({"anything-but": {"equals-ignore-case": ["SHUT", "LOST"]}}), True),
        # exists: leaves only
        (status({"exists": True}), True),
        (status({"exists": False}), False),
        (new(absent={"S": [{"exists": True}]}), False),
        (new(absent={"S": [{"exists": False}]}), True),
        (new(absent={"S": ["x", {"exists": False}]}), True),
        (status("x", {"exists": False}), False),
        (new(status={"N": [{"exists": False}]}), True),
        (new(status=[{"exists": True}]), False),
        (new(status=[{"exists": False}]), True),
        ({"dynamodb": {"NewImage": [{"exists": False}]}}, True),
        ({"dynamodb": {"OldImage": {"status": {"S": [{"exists": False}]}}}}, True),
        ({"eventName": {"deeper": [{"exists": False}]}}, True),
        ({"userIdentity": {"type": ["Service"]}}, False),
        # numeric: JSON numbers only
        (new(total={"N": [{"numeric": ["=", 5]}]}), False),
        (new(total={"N": [{"numeric": [">", 0]}]}), False),
        (new(paid={"BOOL": [{"numeric": ["=", 1]}]}), False),
        ({"dynamodb": {"SizeBytes": [300]}}, True),
        ({"dynamodb": {"SizeBytes": [3.0e2]}}, True),
        ({"dynamodb": {"SizeBytes": ["300"]}}, False),
        ({"dynamodb": {"SizeBytes": [{"numeric": ["=", 300.0]}]}}, True),
        ({"dynamodb": {"SizeBytes": [{"numeric": ["<", 300]}]}}, False),
        ({"dynamodb": {"SizeBytes": [{"numeric": ["<=", 300]}]}}, True),
        ({"dynamodb": {"SizeBytes": [{"numeric": [">", 300]}]}}, False),
        ({"dynamodb": {"SizeBytes": [{"numeric": [">=", 300]}]}}, True),
        ({"dynamodb": {"SizeBytes": [{"numeric": [">", 0, "<=", 300]}]}}, True),
        ({"dynamodb": {"SizeBytes": [{"numeric": [">", 0, "<", 300]}]}}, False),
        # $or, at any level and in itself
        ({"$or": [{"eventName": ["INSERT"]}, status("Open")]}, True),
        ({"$or": [{"eventName": ["INSERT"]}, status("Shut")]}, False),
        ({"eventName": ["INSERT"], "$or": [{"eventID": ["1"]}, status("Open")]}, False),
        (new(**{"$or": [{"status": {"S": ["Shut"]}}, {"total": {"N": ["5"]}}]}), True),
        ({"$or": [{"eventID": ["2"]}, {"eventID": ["1"], "$or": [{"eventID": ["3"]}, {"eventName": ["x"]}]}]}, False),
        # arrays: any element; two fields from one element
        (new(tags={"SS": ["blue"]}), True),
        (new(tags={"SS": ["green"]}), False),
        (new(tags={"SS": [{"anything-but": ["red"]}]}), True),
        (new(tags={"SS": [{"anything-but": ["red", "blue"]}]}), False),
        (new(tags={"SS": [{"exists": True}]}), True),
        (new(lines={"L": [{"exists": True}]}), False),
        (new(lines={"L": {"M": {"sku": {"S": ["b"]}}}}), True),
        (new(lines={"L": {"M": {"sku": {"S": ["b"]}, "n": {"N": ["2"]}}}}), True),
        (new(lines={"L": {"M": {"sku": {"S": ["b"]}, "n": {"N": ["1"]}}}}), False),
        (new(lines={"L": {"M": {"n": {"N": [{"exists": False}]}}}}), False),
    ],
)
def test_matches(pattern: dict[str, Any], expected: bool) -> None:
    assert compile_criteria(pattern).matches(RECORD) is expected
    assert compile_criteria({"Filters": [{"Pattern": json.dumps(pattern)}]}).matches(RECORD) is expected


@pytest.mark.parametrize(
    ("value", "values", "expected"),
    [
        (None, [None], True),
        (None, [{"exists": True}], True),
        (None, [{"exists": False}], False),
        (None, [{"anything-but": ["x"]}], True),
        (False, [None], False),
        (0, [False], False),
        ([], [{"exists": False}], True),
        ([], [{"anything-but": ["x"]}], False),
        ([[1, [2]], 3], [2], True),
        ({}, [{"exists": False}], True),
        ([{"b": 1}], [{"exists": False}], True),
        (10**30, [10**30], True),
    ],
)
def test_values_that_dynamodb_never_writes(value: object, values: list[object], expected: bool) -> None:
    assert compile_criteria({"a": values}).matches({"a": value}) is expected


def test_exists_false_is_asked_of_the_element_that_matched_before() -> None:
    record = {"a": [{"b": 1, "c": 2}, {"b": 3}]}
    criteria = {"a": {"b": [1], "c": [{"exists": False}]}}
    assert not compile_criteria(criteria).matches(record)
    criteria["a"]["b"] = [3]
    assert compile_criteria(criteria).matches(record)


def test_ttl_deletes_are_told_by_user_identity() -> None:
    criteria = compile_criteria({"userIdentity": {"type": ["Service"], "principalId": ["dynamodb.amazonaws.com"]}})
    assert criteria.matches(TTL)
    assert not criteria.matches(RECORD)


@pytest.mark.parametrize("criteria", [{}, "{}", b"{}", [], "[]", {"Filters": []}, '{"Filters": []}'])
def test_no_filters_let_everything_through(criteria: Any) -> None:
    compiled = compile_criteria(criteria)
    assert compiled.matches(RECORD)
    assert compiled.roots == frozenset()


@pytest.mark.parametrize(
    "criteria",
    [
        {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}, {"Pattern": {"eventName": ["MODIFY"]}}]},
        b'{"Filters": [{"Pattern": "{\\"eventName\\": [\\"INSERT\\", \\"MODIFY\\"]}"}]}',
        '{"eventName": ["INSERT", "MODIFY"]}',
        [{"eventName": ["INSERT"]}, '{"eventName": ["MODIFY"]}', b'{"eventID": ["9"]}'],
    ],
)
def test_every_shape_of_criteria(criteria: Any) -> None:
    compiled = compile_criteria(criteria)
    assert compiled.matches(RECORD)
    assert compiled.matches({"eventName": "INSERT"})
    assert not compiled.matches({"eventName": "REMOVE"})


@pytest.mark.parametrize(
    ("pattern", "roots"),
    [
        ({"eventName": ["INSERT"]}, {"eventName"}),
        ({"userIdentity": {"type": ["Service"]}}, {"userIdentity"}),
        ({"dynamodb": {"Keys": {"pk": {"S": ["x"]}}}}, {"dynamodb.Keys"}),
        ({"dynamodb": {"SizeBytes": [1]}}, {"dynamodb.SizeBytes"}),
        ({"dynamodb": {"OldImage": {"a": {"S": ["x"]}}}}, {"dynamodb.OldImage"}),
        ({"$or": [{"eventName": ["INSERT"]}, status("x")]}, {"eventName", "dynamodb.NewImage"}),
        ({"dynamodb": ["x"]}, {"dynamodb"}),
    ],
)
def test_roots_say_what_must_be_parsed(pattern: Any, roots: set[str]) -> None:
    assert compile_criteria(pattern).roots == roots


def test_images_may_stay_raw_where_roots_do_not_name_them() -> None:
    record = {**RECORD, "dynamodb": {**RECORD["dynamodb"], "NewImage": msgspec.Raw(b"{}")}}
    criteria = compile_criteria({"eventName": ["MODIFY"], "dynamodb": {"Keys": {"pk": {"S": [{"prefix": "order#"}]}}}})
    assert criteria.matches(record)


@pytest.mark.parametrize(
    ("pattern", "note"),
    [
        (new(total={"N": [{"numeric": [">", 0]}]}), "pattern 1, dynamodb.NewImage.total.N.numeric: a number is never"),
        (new(total={"N": [5]}), "pattern 1, dynamodb.NewImage.total.N: a number is never"),
        (new(total={"NS": [{"anything-but": [5]}]}), "pattern 1, dynamodb.NewImage.total.NS.anything-but: a number"),
        (new(status=["Open"]), "pattern 1, dynamodb.NewImage.status: never a single value"),
        ({"dynamodb": {"OldImage": [{"exists": True}]}}, "pattern 1, dynamodb.OldImage: never a single value"),
        (status({"anything-but": {"prefix": "x"}}), "status.S.anything-but.prefix: anything-but with prefix is EventB"),
        (status({"suffix": {"equals-ignore-case": "x"}}), "status.S.suffix.equals-ignore-case: suffix ignoring case"),
        ([{"eventID": [str(n)]} for n in range(6)], "6 patterns: an account has 5"),
        ({"eventID": ["1"], "$or": [{"eventID": ["2"]}, {"eventName": ["x"]}]}, "$or[0].eventID: the field is named"),
        (
            '{"eventID": ["1"], "eventID": ["2"]}',
            "pattern 1, eventID: the field is named twice; what comes later counts",
        ),
    ],
)
def test_notes(pattern: Any, note: str) -> None:
    assert [n for n in compile_criteria(pattern).notes if note in n]


def test_no_notes_without_cause() -> None:
    assert compile_criteria({"dynamodb": {"SizeBytes": [{"numeric": ["=", 5]}]}, "eventName": ["INSERT"]}).notes == ()


def test_of_a_field_named_twice_the_later_counts() -> None:
    criteria = compile_criteria({"eventID": ["1"], "$or": [{"eventID": ["2"]}, {"eventName": ["x"]}]})
    assert criteria.matches({"eventID": "2"})
    assert not criteria.matches({"eventID": "1"})


BOTH = (
    '{"dynamodb": {"NewImage": {"status": {"S": ["a"]}}}, "dynamodb": {"OldImage": {"status": {"S": ["b"]}}}}',
    '{"dynamodb": {"NewImage": {"status": {"S": ["a"]}}, "OldImage": {"status": {"S": ["b"]}}}}',
)


@pytest.mark.parametrize("shape", [str, lambda text: [text], lambda text: {"Filters": [{"Pattern": text}]}])
@pytest.mark.parametrize("pattern", BOTH)
def test_a_key_that_is_repeated_counts_both_times(pattern: str, shape: Callable[[str], Any]) -> None:
    criteria = compile_criteria(shape(pattern))
    for new_status, old_status in (("a", "b"), ("zzz", "b"), ("a", "zzz")):
        images = {"NewImage": {"status": {"S": new_status}}, "OldImage": {"status": {"S": old_status}}}
        assert criteria.matches({"dynamodb": images}) is (new_status == "a" and old_status == "b")


@pytest.mark.parametrize(
    ("pattern", "passing", "dropped"),
    [
        # Of one path the later, at whatever depth and between whatever else.
        ('{"a": ["1"], "b": ["x"], "a": ["2"]}', [{"a": "2", "b": "x"}], [{"a": "1", "b": "x"}, {"a": "2"}]),
        ('{"a": {"b": ["1"]}, "a": {"b": ["2"], "c": ["3"]}}', [{"a": {"b": "2", "c": "3"}}], [{"a": {"b": "2"}}]),
        ('{"a": ["1"], "a": {"b": ["2"]}}', [{"a": ["1", {"b": "2"}]}], [{"a": "1"}, {"a": {"b": "2"}}]),
        # Alternatives of alternatives.
        (
            '{"$or": [{"a": ["1"]}, {"a": ["2"]}], "$or": [{"b": ["1"]}, {"b": ["2"]}]}',
            [{"a": "1", "b": "2"}, {"a": "2", "b": "1"}],
            [{"a": "1"}, {"b": "2"}],
        ),
        ('{"$or": [{"a": ["1"]}, {"b": ["1"]}], "a": ["2"]}', [{"a": "2"}, {"a": "2", "b": "1"}], [{"a": "1"}]),
    ],
)
def test_of_what_is_repeated(pattern: str, passing: list[dict[str, Any]], dropped: list[dict[str, Any]]) -> None:
    criteria = compile_criteria(pattern)
    assert all(map(criteria.matches, passing))
    assert not any(map(criteria.matches, dropped))


SIZE, NUMBER = ("dynamodb", "SizeBytes"), ("dynamodb", "SequenceNumber")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({"eventName": ["MODIFY"]}, True),
        ({"eventName": ["INSERT"]}, False),
        ({"dynamodb": {"SizeBytes": [300]}}, None),
        ({"dynamodb": {"SizeBytes": [301]}}, None),
        ({"dynamodb": {"SizeBytes": [{"exists": True}]}}, True),
        ({"dynamodb": {"SizeBytes": [{"exists": False}]}}, None),
        ({"eventName": ["INSERT"], "dynamodb": {"SizeBytes": [300]}}, False),
        ({"eventName": ["MODIFY"], "dynamodb": {"SizeBytes": [300]}}, None),
        ({"$or": [{"dynamodb": {"SizeBytes": [1]}}, {"eventName": ["MODIFY"]}]}, True),
        ({"$or": [{"dynamodb": {"SizeBytes": [1]}}, {"eventName": ["INSERT"]}]}, None),
        ([{"dynamodb": {"SizeBytes": [1]}, "eventName": ["INSERT"]}, {"eventName": ["REMOVE"]}], False),
    ],
)
def test_what_depends_on_a_value_that_nobody_knows_is_not_told(pattern: Any, expected: bool | None) -> None:
    assert compile_criteria(pattern).matches_whatever(RECORD, frozenset({SIZE, NUMBER})) is expected


def test_the_largest_pattern_and_the_most_patterns() -> None:
    longest = json.dumps({"eventName": ["MODIFY"]}).ljust(4096)
    assert compile_criteria([longest] * 10).matches(RECORD)


N_S = "pattern 1, dynamodb.NewImage.status.S"


@pytest.mark.parametrize(
    ("criteria", "message"),
    [
        ("{", "filter criteria: bad JSON"),
        (b"\xff", "filter criteria: bad JSON"),
        ("1", "filter criteria are a JSON object or a list"),
        ({"Filters": {}}, '"Filters" is not an array'),
        ({"Filters": [{"Pattern": "{}"}, {}]}, "Filters: entry 2 is not a Pattern"),
        ({"Filters": [{"Pattern": '{"a": ["x"]}'}, {"Pattern": "{"}]}, "pattern 2: bad JSON"),
        ({"Filters": [{"Pattern": "{}"}]}, "pattern 1: an empty object"),
        (["[]"], "pattern 1: the pattern is not an object"),
        ([5], "pattern 1: the pattern is not an object"),
        ([{"eventName": ["x"]}] * 11, "11 filter patterns: Lambda takes at most 10"),
        ([{"a": ["x"]}, {"a": ["x" * 4100]}], "pattern 2: 4,110 characters"),
        ([json.dumps({"a": ["x"]}) + " " * 4096], "pattern 1: 4,108 characters"),
        ("{" + ", ".join(['"a": ["x"]'] * 500) + "}", "pattern 1: 5,001 characters"),
        (new(status={}), "pattern 1, dynamodb.NewImage.status: an empty object"),
        (new(status={"S": "Open"}), f"{N_S}: the value is not in an array"),
        (new(status={"S": None}), f"{N_S}: the value is not in an array"),
        (status(), f"{N_S}: an empty array"),
        (status(["x"]), f"{N_S}: an array inside an array"),
        (status({}), f"{N_S}: an object here holds one operator"),
        (status({"prefix": "a", "suffix": "b"}), f"{N_S}: an object here holds one operator"),
        (status({"regex": "x"}), f"{N_S}.regex: unknown operator 'regex'"),
        (status({"wildcard": "a*"}), f"{N_S}.wildcard: wildcard is an operator of EventBridge rules only"),
        (status({"cidr": "10.0.0.0/8"}), f"{N_S}.cidr: cidr is an operator of EventBridge rules only"),
        (status({"anything-but": {"wildcard": "a*"}}), f"{N_S}.anything-but.wildcard: wildcard is an operator of"),
        (status({"anything-but": {"exists": True}}), f"{N_S}.anything-but.exists: unknown operator 'exists'"),
        (status({"anything-but": {}}), f"{N_S}.anything-but: an object here holds one operator"),
        (status({"anything-but": {"prefix": 1}}), f"{N_S}.anything-but.prefix: takes a string, not 1"),
        (status({"anything-but": {"prefix": ""}}), f"{N_S}.anything-but.prefix: excludes everything"),
        (status({"anything-but": {"suffix": []}}), f"{N_S}.anything-but.suffix: excludes everything"),
        (status({"anything-but": []}), f"{N_S}.anything-but: takes strings or numbers"),
        (status({"anything-but": ["a", 1]}), f"{N_S}.anything-but: takes strings or numbers"),
        (status({"anything-but": None}), f"{N_S}.anything-but: takes strings or numbers"),
        (status({"anything-but": [True]}), f"{N_S}.anything-but: takes strings or numbers"),
        (status({"prefix": ["a"]}), f'{N_S}.prefix: takes a string, not ["a"]'),
        (status({"suffix": {"prefix": "a"}}), f"{N_S}.suffix: suffix takes a string or equals-ignore-case"),
        (status({"suffix": {"equals-ignore-case": 1}}), f"{N_S}.suffix.equals-ignore-case: takes a string"),
        (status({"equals-ignore-case": None}), f"{N_S}.equals-ignore-case: takes a string, not null"),
        (status({"exists": "yes"}), f"{N_S}.exists: exists takes true or false"),
        (status({"numeric": 5}), f"{N_S}.numeric: takes a comparison or an interval"),
        (status({"numeric": []}), f"{N_S}.numeric: takes"),
        (status({"numeric": ["=", "5"]}), f"{N_S}.numeric: takes"),
        (status({"numeric": ["=", True]}), f"{N_S}.numeric: takes"),
        (status({"numeric": ["!=", 5]}), f"{N_S}.numeric: takes"),
        (status({"numeric": ["=", 5, "<"]}), f"{N_S}.numeric: takes"),
        (status({"numeric": ["<", 5, ">", 0]}), f"{N_S}.numeric: takes"),
        (status({"numeric": [">", 5, "<", 5]}), f"{N_S}.numeric: takes"),
        ({"$or": [{"a": ["x"]}]}, "pattern 1, $or: $or takes an array of two or more objects"),
        ({"dynamodb": {"$or": {"a": ["x"]}}}, "pattern 1, dynamodb.$or: $or takes an array"),
        ({"$or": [{"a": ["x"]}, "b"]}, "pattern 1, $or[1]: an alternative of $or is an object"),
        ({"$or": [{"a": ["x"]}, {"b": "x"}]}, "pattern 1, $or[1].b: the value is not in an array"),
        ({"a": {"$or": [{"prefix": "x"}, {"b": ["x"]}]}}, "pattern 1, a.$or[0].prefix: an operator where a field"),
        ({"$or": [{"a": {"suffix": ["x"]}}, {"b": ["x"]}]}, "pattern 1, $or[0].a.suffix: an operator where a field"),
        ('{"a": [{"prefix": "x", "prefix": "y"}]}', "pattern 1, a: an object here holds one operator"),
        ('{"a": [{"exists": false, "exists": false}]}', "pattern 1, a: an object here holds one operator"),
        ('{"a": {}, "a": {"b": ["x"]}}', "pattern 1, a: an empty object"),
        ('{"a": [NaN]}', "filter criteria: bad JSON"),
        (
            {f"f{n}": {"$or": [{"a": [1]}, {"b": [1]}]} for n in range(11)},
            "pattern 1, f9.$or: more than 1,000 combinations",
        ),
        ('{"a":' * 300 + '["x"]' + "}" * 300, f"pattern 1: nested more than {MAX_DEPTH} deep"),
    ],
)
def test_what_lambda_refuses_is_refused_with_its_place(criteria: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        compile_criteria(criteria)
    assert caught.value.message.startswith(message)
    assert caught.value.hint


# ── patterns that would explode ──────────────────────────────────────────────────────────────────────────


def members(count: int) -> dict[str, list[str]]:
    return {"SS": [f"m{number}" for number in range(count)]}


def test_many_sets_take_as_many_steps_as_they_have_members() -> None:
    """Matched one by one: five sets of 100 members have 10^10 combinations, and the last field matches none."""
    names = [f"set{number}" for number in range(12)]
    record = {"dynamodb": {"NewImage": {name: members(1_000) for name in names} | {"z": {"S": "no"}}}}
    fields: dict[str, object] = {name: {"SS": [{"prefix": "m"}]} for name in names}
    assert compile_criteria({"dynamodb": {"NewImage": fields}}).matches(record)
    assert not compile_criteria({"dynamodb": {"NewImage": fields | {"z": {"S": ["yes"]}}}}).matches(record)


@pytest.mark.parametrize("rising", [True, False])
def test_fields_of_one_long_list_take_as_many_steps_as_it_has_elements(rising: bool) -> None:
    """Each element has all fields but one: so each passes for all but the last of them."""
    names = list("abcdefgh")
    items = [{name: {"S": "x"} for name in names if name != names[number % 8]} for number in range(4_000)]
    if not rising:
        items.reverse()
    pattern = {"list": {name: {"S": ["x"]} for name in names}}
    assert not compile_criteria(pattern).matches({"list": items})
    assert compile_criteria(pattern).matches({"list": [*items, {name: {"S": "x"} for name in names}]})


def test_lists_in_lists_are_told_apart() -> None:
    inner = [{"b": [{"x": number, "y": other} for other in range(50)]} for number in range(50)]
    pattern = {"a": {"b": {"x": [7], "y": [9]}}}
    assert compile_criteria(pattern).matches({"a": inner})
    assert not compile_criteria({"a": {"b": {"x": [7], "y": [50]}}}).matches({"a": inner})


def nested_names(depth: int, elements: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A pattern and a record of several lists, whose names hold dots: by its dots each name lies inside of the one
    before, but no list does. The two fields of the first never match in one element."""
    pattern: dict[str, Any] = {}
    image: dict[str, Any] = {}
    name = "p"
    for _ in range(depth):
        pattern[name] = {"L": {"M": {"a": {"S": [{"prefix": "x"}]}, "z": {"S": [{"exists": True}]}}}}
        image[name] = {"L": [{"M": {"a": {"S": f"x{n}"}, "z": {"S": "x"}}} for n in range(elements)]}
        name += ".L.M.b"
    pattern["p"] = {"L": {"M": {"a": {"S": ["x"]}, "z": {"S": ["x"]}}}}
    halves = ({"a": {"S": "x"}, "z": {"S": "no"}}, {"a": {"S": "no"}, "z": {"S": "x"}})
    image["p"] = {"L": [{"M": halves[n % 2]} for n in range(elements)]}
    return {"dynamodb": {"NewImage": pattern}}, {"dynamodb": {"NewImage": image}}


def test_lists_whose_names_hold_dots_take_as_many_steps_as_they_have_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the names with dots, 100^6 combinations of elements would be tried."""
    monkeypatch.setattr(matching, "MAX_STEPS", 12 * 100 * 2)
    pattern, record = nested_names(6, 100)
    assert not compile_criteria(pattern).matches(record)
    record["dynamodb"]["NewImage"]["p"]["L"].append({"M": {"a": {"S": "x"}, "z": {"S": "x"}}})
    assert compile_criteria(pattern).matches(record)


def test_what_cannot_be_told_in_bounded_steps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "MAX_STEPS", 100_000)
    pattern, record = nested_names(6, 100)
    pattern["dynamodb"]["NewImage"]["p"]["L"]["M"]["q"] = {"S": [{"exists": False}]}  # the order of names counts
    with pytest.raises(UsageError, match="more than 100,000 steps on one record"):
        compile_criteria(pattern).matches(record)


def test_alternatives_ask_each_leaf_once() -> None:
    """30 alternatives of 30 alternatives over one long list: each value is tested once, and the list searched once."""
    asked = 0

    def test(_: object) -> bool:
        nonlocal asked
        asked += 1
        return True

    def never(value: object) -> bool:
        return value == "b"

    first = matching.Field(("l", "a"), test, absent=False)
    second = matching.Field(("l", "b"), never, absent=False)
    third = matching.Field(("l", "c"), never, absent=False)
    record = {"l": [{"a": n, "b": "b" if n % 2 else "", "c": "" if n % 2 else "b"} for n in range(1_000)], "s": "x"}
    branches = tuple((first, second, third, matching.Field(("s",), lambda _: True, absent=False)) for _ in range(900))
    assert not matching.matches(branches, record)
    assert asked == 1_000


# ── what refuses ─────────────────────────────────────────────────────────────────────────────────────────

MODIFY = {"eventName": "MODIFY", "dynamodb": {"NewImage": {"status": {"S": "open"}, "tags": {"L": [{"S": "a"}]}}}}


@pytest.mark.parametrize(
    ("patterns", "refusing"),
    [
        ([{"eventName": ["INSERT"]}], ["eventName"]),
        ([{"eventName": ["INSERT"], "dynamodb": {"NewImage": {"status": {"S": ["open"]}}}}], ["eventName"]),
        (
            [{"eventName": ["INSERT"]}, {"dynamodb": {"NewImage": {"status": {"S": ["done"]}}}}],
            ["eventName", "dynamodb.NewImage.status.S"],
        ),
        ([{"dynamodb": {"OldImage": {"status": {"S": [{"exists": True}]}}}}], ["dynamodb.OldImage.status.S"]),
        ([{"eventID": ["1"], "eventName": ["INSERT"]}], ["eventName"]),
    ],
    ids=["one", "of two", "of two patterns", "absent", "what is unknown refuses nothing"],
)
def test_which_parts_refuse_a_record(patterns: list[object], refusing: list[str]) -> None:
    found = compile_criteria(patterns).refusing(MODIFY, frozenset({("eventID",)}))
    assert [".".join(path) for path in found] == refusing


def test_where_only_together_they_refuse_all_are_named() -> None:
    """Two fields that match in different elements of one list."""
    record = {"dynamodb": {"NewImage": {"l": {"L": [{"M": {"a": {"S": "x"}}}, {"M": {"b": {"S": "y"}}}]}}}}
    fields = {"a": {"S": ["x"]}, "b": {"S": ["y"]}}
    criteria = compile_criteria({"dynamodb": {"NewImage": {"l": {"L": {"M": fields}}}}})
    assert not criteria.matches(record)
    paths = [".".join(path) for path in criteria.refusing(record, frozenset())]
    assert paths == ["dynamodb.NewImage.l.L.M.a.S", "dynamodb.NewImage.l.L.M.b.S"]
