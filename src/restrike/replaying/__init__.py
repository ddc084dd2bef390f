"""Replay: hand records to one consumer, the way an event source mapping would; the table is not written.

`plan` looks and `resolved` is what it settles; `execute` carries that out; `engine` moves records from a source
(`reading`) through `lanes` to `delivery` (`working`), and how far it is to the book (`places`, `saving`).
"""
