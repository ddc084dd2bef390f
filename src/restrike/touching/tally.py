"""The counts of a run since it began: of all its parts, with what is in flight and with what lost its answer."""

from __future__ import annotations

import msgspec

from restrike.model.report import Counts
from restrike.touching.book import Book
from restrike.touching.tables import UNKNOWN_CODE
from restrike.touching.write import Write


class Tally:
    """What to tell of a run at any moment; no count goes down while the run goes on.

    `final`: all of the selection was met. `read_to_its_end`: so was the stream, with the records of all writes.
    """

    def __init__(self, book: Book, write: Write) -> None:
        self.final = False
        self.read_to_its_end = False
        self._book = book
        self._write = write

    def counts(self) -> Counts:
        """With the outcomes in units that are not done."""
        total = self._of_units()
        total.add(self._write.beside_units)
        for unit in self._book.places.open():
            total.add(unit.counts)
        if not self.final:
            # What an earlier part had counted behind its places is met again, and counts already.
            total.at_least(self._book.before)
        total.sum_up()
        return total

    def to_save(self) -> tuple[Counts, int]:
        """The counts to show, and how many unanswered writes fired that only the stream tells of."""
        return self.counts(), self.unanswered() + self._book.late

    def _of_units(self) -> Counts:
        """Of units that are done. Where the stream tells it, those fired whose record is there, answered or not."""
        counts = msgspec.structs.replace(self._book.counts)
        counts.fired += self._book.late
        counts.gone -= self._book.late
        seen = self.unanswered()
        if seen > counts.unanswered or (self.read_to_its_end and self._write.sees_both):
            late = seen - counts.unanswered
            counts.fired += late
            counts.already -= late
            counts.unanswered = seen
        return counts

    def unanswered(self) -> int:
        """Writes whose answer was lost, but whose record is there: a repetition found the name there."""
        if not self._book.proving or len(self._book.places):
            return 0
        counts = self._book.counts
        return self._write.unanswered(counts.already + counts.unanswered)

    def seen(self) -> tuple[int | None, int | None]:
        """How many writes were seen on the stream; or, where that cannot be told, at most how many."""
        if not self._book.proving:
            return None, None
        seen = self._book.seen + self.unanswered() + self._book.late
        return (seen, None) if self._write.exact else (None, seen)

    def notes(self, *, in_doubt: int) -> tuple[str, ...]:
        """What to know of the counts; `in_doubt` writes were given up without an answer."""
        counts = self.counts()
        notes: tuple[str, ...] = ()
        decided = self._write.beside_units.unanswered
        if decided:
            notes += (
                f"{decided:,} of those that fired had no answer: their records raise the number by 1 and change "
                "nothing else, as this run's do, and those of another writer that does only that",
            )
        elif counts.unanswered and not self._book.proving:
            notes += (
                f"{counts.unanswered:,} of those that fired had no answer: they bear the run's name, and nobody looked "
                "for their records (--verify does)",
            )
        if counts.unknown:
            notes += (
                f"{counts.unknown:,} may have fired or not: their writes had no answer, and no record on the stream "
                "tells; they are left over, and only --again writes them again",
            )
        unread = self._book.count_leftovers(UNKNOWN_CODE) - counts.unknown
        if unread > 0:
            notes += (
                f"{unread:,} of those that failed were refused, and could not be read to tell whether they are gone, "
                "changed or done: with dynamodb:BatchGetItem allowed on the table, the same run with --again tells",
            )
        if in_doubt:
            notes += (f"{in_doubt:,} more were sent and had no answer: going on tells what became of them",)
        if self.read_to_its_end:
            bearing = self._book.counts.already + self._book.counts.unanswered
            uncounted = self._write.uncounted(bearing)
            if uncounted:
                notes += (
                    f"{uncounted:,} more fired, as their records tell: their answers were lost, and they were not met "
                    "again or could not be read",
                )
        return notes
