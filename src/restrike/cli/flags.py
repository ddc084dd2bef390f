"""The flags that are the command line's alone: whether it acts, and how it answers."""

from __future__ import annotations

from restrike.model.flags import Flag

JSON = Flag("--json", "Print one JSON object on stdout.", "run", "switch", field="as_json")
EXECUTE = Flag("--execute", "Do it. Without this the plan is printed.", "run", "switch")
TARGET = Flag("--to", "Who gets the records.", "deliver", metavar="TARGET", completes="target")
