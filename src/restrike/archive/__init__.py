"""The archive: a stream's records kept as Parquet files, each one contiguous run of one shard.

`layout` names the files, `schema` says what stands in one, `columns` and `writing` fill one, `footer` ends it with a
checksum, `opened` reads one,
`places` finds the last of a shard, `state` is what a capture writes down beside them; `reader` reads; `inspection`
(ls, stat, verify), `compaction` and `pruning` look after it.
"""

from __future__ import annotations

import importlib.util

from restrike.errors import UsageError


def require_packages() -> None:
    """UsageError where the packages of the extra `archive` are not installed."""
    missing = [name for name in ("obstore", "pyarrow") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"archives need {' and '.join(missing)}", "pip install 'restrike[archive]'")
