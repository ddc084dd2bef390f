"""Redrive: what a mapping gave up on, handed to its consumer once more, by the messages that it left.

A redrive is one replay of the source `failures:` for each consumer, one after the other, in one run. `choosing` says
who gets what; `memory` what was delivered, over all runs of a ledger; `settling` which messages are done.
"""
