"""Have DynamoDB export a span of time, window by window, for a replay.

`request` is what was asked, `cutting` makes windows of a span, `plan` looks and settles, `windows` is what the ledger
keeps of each, `execute` starts them and waits.
"""
