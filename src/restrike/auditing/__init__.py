"""Compare a table with what was made of it, and say which items are wrong there.

`request` is what was asked, `rows` reads the other side's file, `sides` a table, `partitions` keeps what was read of
both, `book` what became of it, `judging` reads differences once more, `since` looks what has changed meanwhile,
`execute` is all of that as a run.
"""
