"""What `restrike doctor` found, for people: who reads the table, what was lost, and what can be fired again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from restrike.cli.render.ink import Hanging, Ink, console_on_stdout
from restrike.cli.render.wiring import STYLES, Wiring, window_of
from restrike.model.numbers import counted, duration, money
from restrike.model.times import iso

if TYPE_CHECKING:
    from rich.console import Console

    from restrike.model.diagnosis import Advice, Closed, Diagnosis, Loss, Unseen, Way

_COVERS = {
    "whole": "covers the whole window",
    "part": "covers a part of the window",
    "unknown": "how much of the window it covers is unknown",
}
_FIDELITY = {
    "exact": "the records as they were",
    "net": "net changes",
    "synthetic": "made of the items as they are now",
}
_BESIDE = 4  # the indent of what belongs to a numbered way
_CERTAINTY = 13


def show_diagnosis(diagnosis: Diagnosis) -> None:
    """The picture on stdout; OSError where it cannot be written."""
    Picture(diagnosis, console_on_stdout()).show()


class Picture:
    """Draws a diagnosis on a console, from the table down to what is for later."""

    def __init__(self, diagnosis: Diagnosis, console: Console) -> None:
        self._found = diagnosis
        self._console = console
        self._ink = Ink(plain=console.options.ascii_only)

    def show(self) -> None:
        found = self._found
        wiring = Wiring(found, self._ink, self._console.width)
        self._console.print(wiring.tree())
        self._console.print(wiring.scale())
        for warning in found.seen.warnings:
            self._console.print(Hanging(self._ink("warning", "yellow"), self._ink(warning.message), 9))
        self._heading("What was lost")
        for loss in found.losses:
            self._loss(loss)
        if not found.losses:
            self._line(self._nobody())
        self._heading("What can be fired again, the best way first")
        for number, way in enumerate(found.ways, 1):
            self._way(number, way)
            self._console.print()
        if not found.ways:
            self._line("No way is open.")
        else:
            self._line("As it stands each command prints its plan and changes nothing.", "dim")
        self._closed(found.closed)
        self._advice(found.advice)
        self._unseen(found.seen.unseen)

    def _heading(self, text: str) -> None:
        self._console.print()
        self._line(text, "bold underline")

    def _nobody(self) -> str:
        """Why nothing is said of a loss: nobody is seen, or nobody of the name that was asked for."""
        wanted, names = self._found.asked.consumer, [each.name for each in self._found.seen.consumers]
        if wanted is None or not names:
            return "Nobody is seen who could have lost anything."
        return f"No consumer {wanted} is seen. There are: {', '.join(names)}."

    def _line(self, text: str, style: str = "") -> None:
        self._console.print(Hanging(Text(), self._ink(text, style), 0))

    def _loss(self, loss: Loss) -> None:
        label = self._ink(loss.certainty, STYLES[loss.certainty])
        self._console.print(Hanging(label, self._ink(f"{loss.consumer}: {loss.what}"), _CERTAINTY))
        facts = [window_of(loss), "" if loss.records is None else counted(loss.records, "record")]
        told = "; ".join(fact for fact in facts if fact)
        if told:
            self._console.print(Hanging(Text(), self._ink(told), _CERTAINTY))
        if loss.hint:
            self._console.print(Hanging(Text(), self._ink(loss.hint, "dim"), _CERTAINTY))

    def _way(self, number: int, way: Way) -> None:
        self._console.print(Hanging(self._ink(f"{number}.", "bold"), self._ink(way.title, "bold"), _BESIDE))
        self._beside(f"{_COVERS[way.covers]}; {_FIDELITY[way.fidelity]}; {self._costs(way)}")
        if way.others:
            self._beside(f"fires {', '.join(way.others)}, too", "yellow")
        elif not way.only:
            self._beside("others may be fired, too", "yellow")
        for text in way.cannot:
            self._beside(f"but: {text}")
        if way.fill:
            self._beside(f"first put in your own for {', '.join(way.fill)}", "yellow")
        self._command(way.command)

    def _costs(self, way: Way) -> str:
        facts = []
        if way.records is not None:
            facts.append(f"about {counted(way.records, 'record')}")
        of = f" ({way.prices})" if way.prices else ""
        facts.append("cost unknown" if way.usd is None else f"{money(way.usd)}{of}")
        if way.seconds is not None:
            facts.append(f"about {duration(way.seconds)}")
        if way.expires_s is not None:
            left_s = way.expires_s - self._found.seen.now_s
            soon = f"in {duration(left_s)}" if left_s > 0 else "over"
            facts.append(f"until {iso(way.expires_s)} ({soon})")
        return ", ".join(facts)

    def _beside(self, text: str, style: str = "") -> None:
        self._console.print(Hanging(Text(), self._ink(text, style), _BESIDE))

    def _command(self, command: str) -> None:
        """On a line of its own, however long that gets: a person pastes it."""
        shown = self._ink.verbatim(command)
        line = Text(" " * _BESIDE) + shown
        line.stylize("cyan", _BESIDE)
        self._console.print(line, soft_wrap=True)
        if shown.plain != command:
            self._beside("(some letters of it cannot be shown: --json has them)", "yellow")

    def _closed(self, closed: tuple[Closed, ...]) -> None:
        if closed:
            self._heading("What is not open")
        for way in closed:
            self._point(f"{way.title}: {way.why}")

    def _advice(self, advice: tuple[Advice, ...]) -> None:
        if advice:
            self._heading("For later: so that the next time is easier")
        for each in advice:
            self._point(each.text)
            if each.command:
                self._command(each.command)

    def _unseen(self, unseen: tuple[Unseen, ...]) -> None:
        if unseen:
            self._heading("What could not be seen")
        for each in unseen:
            missing = f" (it takes {each.permission})" if each.permission else ""
            self._point(f"{each.what}: {each.why}{missing}")

    def _point(self, text: str) -> None:
        self._console.print(Hanging(self._ink("  -"), self._ink(text), _BESIDE))
