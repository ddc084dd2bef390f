"""What a run that goes on has lost of what stood beside the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from restrike.running.ledger import Ledger
from restrike.running.run import Run


def losses(ledger: Ledger, run: Run, left: Iterable[dict[str, Any]] = ()) -> list[str]:
    """What is gone, and what can still be done, as sentences; `left` is what the run left over, as its verb tells it.

    What it cannot go on without is refused where it is opened.
    """
    folder = ledger.folder(run.name)
    found = []
    if not folder.exists():
        found.append(
            f"the folder of run {run.name} is gone: {folder}. What it was given and what it gave up stood there; it "
            "goes on by what the ledger has."
        )
    found += [
        f"what run {run.name} gave up before ({told['records']:,} records) is gone: there is no {told['file']}. Once "
        "the consumer is mended, replay these records again under another --run."
        for told in left
        if not Path(told["file"]).exists()
    ]
    return found
