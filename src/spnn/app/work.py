"""What one browser session works on; the page keeps one of these for each, and nothing else of a user."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from spnn.app.controls import Value
from spnn.app.editor import Drawing
from spnn.app.settings import Options, Subject

__all__ = ["Superseded", "Work"]


class Superseded(Exception):
    """A newer move of the same session has come."""


@dataclass
class Work:
    """The state of a session.

    Attributes:
        subject: What is worked on; None before anything is.
        values: Of the controls.
        undo: Earlier values, the latest last.
        drawing: What was drawn last; None if nothing is set, or it is being drawn.
        asked: What that was drawn for.
        chosen: Which of its variants is shown.
        marked: The controls that are shown as changed; None before any are.
        turn: Counts moves: a drawing of an earlier turn is not wanted any more.
    """

    subject: Subject | None = None
    values: dict[str, Value] = field(default_factory=dict)
    undo: list[dict[str, Value]] = field(default_factory=list)
    drawing: Drawing | None = None
    asked: tuple[Mapping[str, Value], Options] | None = None
    chosen: int = 0
    marked: set[str] | None = None
    turn: int = 0

    @property
    def opened(self) -> Subject:
        """What is worked on, once there is something."""
        assert self.subject is not None
        return self.subject

    def open(self, subject: Subject, values: Mapping[str, Value]) -> None:
        """Begin with another subject."""
        self.next_turn()
        self.subject, self.values = subject, dict(values)
        self.undo, self.drawing, self.chosen = [], None, 0

    def move(self, values: Mapping[str, Value]) -> None:
        """Take new values; the earlier ones can be had back."""
        if dict(values) != self.values:
            self.undo = [*self.undo[-49:], self.values]
            self.values = dict(values)

    def is_drawn(self, wanted: Mapping[str, Value], options: Options) -> bool:
        """Whether that is what was drawn last."""
        return self.drawing is not None and self.asked == (wanted, options)

    def next_turn(self) -> int:
        """Begin a move, which ends all drawings of earlier ones."""
        self.turn += 1
        return self.turn

    def check(self, turn: int) -> None:
        """Raise :class:`Superseded` if a newer turn has begun."""
        if turn != self.turn:
            raise Superseded
