"""Unmark: a touch that takes a run's name off the items, as a verb of its own."""
