"""Capture: keep a table's stream beyond the 24 hours that it remembers.

`request` is what is asked; `plan` looks at table, streams and archive; `execute` captures stream after stream, each by
`stream`: `takeover` of the archive, `buffers` of what was read, `puts` of whole files.
"""
