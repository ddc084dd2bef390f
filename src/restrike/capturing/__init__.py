"""Capture: keep a table's stream beyond the 24 hours that it remembers.

`plan` looks at table, stream and archive; `stream` captures one stream into it.
"""
