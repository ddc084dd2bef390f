"""`restrike doctor`: looks at a table, its stream and whoever reads it, and writes nothing.

`look` sees, `diagnose` says what follows.
"""
