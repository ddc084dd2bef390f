"""`--key`: which records are of the item that is named."""

from __future__ import annotations

import pytest

from restrike.replaying.filters import FilterRequest, key_filter

COMPOSITE = b'{"pk":{"S":"a/b"},"sk":{"S":"c/d"}}'


@pytest.mark.parametrize(
    ("keys", "wanted", "found"),
    [
        (COMPOSITE, "a/b/c/d", True),
        (COMPOSITE, "a/b", True),
        (COMPOSITE, "c/d", True),
        (COMPOSITE, "a", False),
        (COMPOSITE, "a/b/c", False),
        (b'{"pk":{"S":"a"},"sk":{"N":"7"}}', "a/7", True),
        (b'{"sk":{"N":"7"},"pk":{"S":"a"}}', "a/7", True),
        (b'{"pk":{"S":"a/7"}}', "a/7", True),
        (b'{"pk":{"S":"a"}}', "a/7", False),
    ],
)
def test_a_key_may_hold_slashes(keys: bytes, wanted: str, found: bool) -> None:
    passes = key_filter(FilterRequest(key=wanted))
    assert passes is not None
    assert passes(keys) is found
