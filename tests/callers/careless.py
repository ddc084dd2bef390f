"""Each line is wrong, and a type checker says so."""

from __future__ import annotations

import restrike

restrike.touch("orders", partition="p")
restrike.touch("orders", partition_key=5)
restrike.touch("orders", all=True, api="query")
restrike.replay("stream:orders")
restrike.replay("stream:orders", "jsonl:out", if_superseded=True)
restrike.capture("orders", "kept", flush_seconds="often")
restrike.doctor("orders", since=3)
print(restrike.touch("orders", all=True).execute().delivered)
print(restrike.NoSuchType)
