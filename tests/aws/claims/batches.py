"""BatchExecuteStatement: what a touch sends, and what each member answers."""

from __future__ import annotations

from typing import Any

import botocore.exceptions

from tests.aws.claim import Deviation, Seen, claim, code_of, shown, told
from tests.aws.statements import MARKER, Statement, count_up, number, set_guarded, set_marker, text
from tests.aws.table import LARGEST_ITEM_BYTES, Table

NO_CAPACITY = Deviation("nothing told", "it ignores ReturnConsumedCapacity in a batch")


@claim("applied, TableName; marker written", "reported", otherwise="a touch goes over to a condition, or reads back")
def returning_of_an_absent_attribute(here: Table) -> str:
    """RETURNING MODIFIED OLD * of an attribute that was absent: applied, and no Item."""
    pk = here.item()
    (answer,) = here.batch(set_marker(here.name, pk, "run-1"))
    return f"{told(answer)}; {_marker(here, pk, 'run-1')}"


@claim("applied, TableName, Item {restrike=run-1}; marker written", "reported", otherwise="`already` is not told")
def returning_of_another_value(here: Table) -> str:
    """RETURNING MODIFIED OLD * of an attribute with another value: that value alone."""
    pk = here.item(n=number("3"), restrike=text("run-1"))
    (answer,) = here.batch(set_marker(here.name, pk, "run-2"))
    return f"{told(answer)}; {_marker(here, pk, 'run-2')}"


@claim("applied, TableName, Item {restrike=run-1}", "local only", otherwise="`already` is not told")
def returning_of_the_same_value(here: Table) -> str:
    """RETURNING MODIFIED OLD * where the value stays the same: it is returned, too."""
    pk = here.item(restrike=text("run-1"))
    (answer,) = here.batch(set_marker(here.name, pk, "run-1"))
    return told(answer)


@claim("ConditionalCheckFailed, TableName; no item", "documented", otherwise="a touch could bring deleted items back")
def missing_item(here: Table) -> str:
    """A PartiQL UPDATE of an item that does not exist fails its condition, and never creates one."""
    pk = here.fresh()
    (answer,) = here.batch(set_marker(here.name, pk, "run-1"))
    return f"{told(answer)}; {'no item' if here.get(pk) is None else 'an item was created'}"


@claim("ConditionalCheckFailed, TableName", "model")
def all_old_of_a_missing_item(here: Table) -> str:
    """ReturnValuesOnConditionCheckFailure ALL_OLD on a member whose item does not exist: no Error.Item."""
    (answer,) = here.batch(count_up(here.name, here.fresh(), "n", "3", "4"))
    return told(answer)


@claim(
    "ConditionalCheckFailed, TableName, Error.Item {n=3, pk}",
    "unconfirmed",
    otherwise="the item is read before it is called gone, changed or already",
)
def all_old_of_a_false_condition(here: Table) -> str:
    """ReturnValuesOnConditionCheckFailure ALL_OLD on a member whose condition is false: Error.Item is the item.

    The service's model says so; a capture says that the option does nothing in a batch.
    """
    pk = here.item(n=number("3"))
    (answer,) = here.batch(count_up(here.name, pk, "n", "4", "5"))
    return told(answer)


@claim("absent: applied, TableName; other: ConditionalCheckFailed, TableName", "documented")
def is_missing(here: Table) -> str:
    """IS MISSING in a condition: true where the attribute is absent, false where it holds something else."""
    absent, other = here.item(), here.item(mark=text("theirs"))
    answers = here.batch(*(set_guarded(here.name, pk, "mark", "run-1") for pk in (absent, other)))
    for answer in answers:
        answer.get("Error", {}).pop("Item", None)  # another claim's
    return f"absent: {told(answers[0])}; other: {told(answers[1])}"


@claim("applied, TableName; n=4", "local only", otherwise="`--counter` calls items changed that are not")
def numbers_are_compared_by_value(here: Table) -> str:
    """A condition on a number holds however the number is spelled: 3.0 is 3."""
    pk = here.item(n=number("3"))
    (answer,) = here.batch(count_up(here.name, pk, "n", "3.0", "4"))
    return f"{told(answer)}; n={(here.get(pk) or {}).get('n', {}).get('N')}"


@claim("ValidationError, next: applied, TableName", "reported")
def parse_error(here: Table) -> str:
    """A member that cannot be parsed is that member's error, without TableName; the next one is applied."""
    pk = here.item()
    wrong: Statement = {"Statement": "UPDAT nothing"}
    first, second = here.batch(wrong, set_marker(here.name, pk, "run-1"))
    return f"{told(first)}, next: {told(second)}"


@claim("ResourceNotFound, next: applied", "reported")
def missing_table(here: Table) -> str:
    """A member on a table that does not exist is that member's error."""
    pk = here.item()
    first, second = here.batch(set_marker(f"{here.name}-none", pk, "run-1"), set_marker(here.name, pk, "run-1"))
    return ", next: ".join(told(answer).partition(",")[0] for answer in (first, second))


@claim(
    "ValidationException; nothing was applied",
    "reported",
    writes=5,
    local=Deviation("ValidationException; some was applied", "it notices the second one only when it comes to it"),
    otherwise="a touch sends no item twice in a batch, whatever the answer",
)
def the_same_item_twice(here: Table) -> str:
    """The same item twice in a batch: the whole request is refused before anything is applied."""
    one, other = here.item(), here.item()
    try:
        answers = here.batch(*(set_marker(here.name, pk, "run-1") for pk in (one, other, one)))
        answered = " | ".join(map(told, answers))
    except botocore.exceptions.ClientError as error:
        answered = code_of(error)
    applied = any(MARKER in (here.get(pk) or {}) for pk in (one, other))
    return f"{answered}; {'some' if applied else 'nothing'} was applied"


@claim("DuplicateItem, TableName", "reported")
def duplicate_insert(here: Table) -> str:
    """DuplicateItem is what an INSERT of an item that exists answers."""
    insert = {"Statement": f"INSERT INTO \"{here.name}\" VALUE {{'pk': ?}}", "Parameters": [text(here.item())]}
    (answer,) = here.batch(insert)
    return told(answer)


@claim("ValidationError", "local only")
def plus_one_of_an_absent_number(here: Table) -> str:
    """SET n = n + 1 where there is no n: that member's ValidationError."""
    statement = f'UPDATE "{here.name}" SET "n"="n"+1 WHERE "pk"=?'
    (answer,) = here.batch({"Statement": statement, "Parameters": [text(here.item())]})
    return told(answer).partition(",")[0]


@claim(
    "ValidationError",
    "unconfirmed",
    local=Deviation("applied", "it knows functions of UpdateItem that PartiQL's reference does not name"),
    otherwise="nothing: a touch reads the number, and does not use the function",
)
def if_not_exists(here: Table) -> str:
    """if_not_exists, which PartiQL's reference does not name, is refused."""
    statement = f'UPDATE "{here.name}" SET "n"=if_not_exists("n",0)+1 WHERE "pk"=?'
    (answer,) = here.batch({"Statement": statement, "Parameters": [text(here.item())]})
    return told(answer).partition(",")[0]


@claim("1 entry, 2 units", "reported", local=NO_CAPACITY, otherwise="the pace is reckoned instead of told")
def consumed_capacity(here: Table) -> str:
    """ReturnConsumedCapacity TOTAL of two writes to one table: one entry with the sum."""
    return _consumed(here, *(set_marker(here.name, here.item(), "run-1") for _ in range(2)))


@claim("1 entry, 2 units", "reported", local=NO_CAPACITY, otherwise="the pace is reckoned instead of told")
def consumed_capacity_of_a_failed_member(here: Table) -> str:
    """A member whose condition fails is charged like one that is applied."""
    failing = count_up(here.name, here.item(n=number("3")), "n", "4", "5")
    return _consumed(here, set_marker(here.name, here.item(), "run-1"), failing)


@claim("1 entry, 2 units", "reported", local=NO_CAPACITY, otherwise="the pace is reckoned instead of told")
def consumed_capacity_with_an_index(here: Table) -> str:
    """TOTAL has the units of indexes in it."""
    return _consumed(here, set_marker(here.name, here.item(all=text("x")), "run-1"))


@claim('{a"b=2, a.b=1, pk}', "documented")
def quoted_names(here: Table) -> str:
    """Names of attributes in double quotes: a point in them is no path, and a quote is written twice."""
    pk = here.item()
    statement = f'UPDATE "{here.name}" SET "a.b"=? SET "a""b"=? WHERE "pk"=?'
    (answer,) = here.batch({"Statement": statement, "Parameters": [text("1"), text("2"), text(pk)]})
    return told(answer) if "Error" in answer else shown(here.get(pk) or {})


@claim("ValidationError, next: applied; marker not written", "reported", writes=810)
def marker_on_the_largest_item(here: Table) -> Seen:
    """A marker that makes an item larger than 400 KB is that member's ValidationError; the item stays as it was."""
    pk = here.largest
    first, second = here.batch(set_marker(here.name, pk, "run-1"), set_marker(here.name, here.item(), "run-1"))
    codes = [told(answer).partition(",")[0] for answer in (first, second)]
    message = first.get("Error", {}).get("Message", "")
    detail = f"{LARGEST_ITEM_BYTES:,} bytes before; {message}"
    return Seen(f"{codes[0]}, next: {codes[1]}; {_marker(here, pk, 'run-1')}", detail)


def _marker(here: Table, pk: str, run: str) -> str:
    item = here.get(pk, attributes=MARKER) or {}
    return "marker written" if item.get(MARKER) == text(run) else "marker not written"


def _consumed(here: Table, *statements: Statement) -> str:
    answer = here.dynamodb.batch_execute_statement(Statements=list(statements), ReturnConsumedCapacity="TOTAL")
    consumed: list[dict[str, Any]] = answer.get("ConsumedCapacity", [])
    if not consumed:
        return "nothing told"
    entries = f"{len(consumed)} entr{'y' if len(consumed) == 1 else 'ies'}"
    return f"{entries}, {sum(each['CapacityUnits'] for each in consumed):g} units"
