"""Replay: hand records to one consumer, the way an event source mapping would; the table is not written.

`plan` looks; `engine` moves records from a source through `lanes` and `batch` to `delivery`; `sources` and
`targets` hold one small module for each kind.
"""
