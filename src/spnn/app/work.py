"""The work of one browser session; the page keeps one of these for each session, and nothing else about a user."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from spnn.app.controls import Value
from spnn.app.editor import Drawing
from spnn.app.settings import Options, Subject

__all__ = ["Superseded", "Work"]


class Superseded(Exception):
    """Raised when a newer move of the same session has arrived."""


@dataclass
class Work:
    """The state of a session.

    Attributes:
        subject: The picture to work on; None until one is opened.
        values: The controls' values.
        undo: Earlier values, the latest last.
        drawing: The last drawing; None if nothing is set, or while one is being drawn.
        asked: The settings and options of that drawing.
        chosen: Which of its variants is shown.
        marked: The controls that are shown as changed; None before their names are shown.
        turn: Counts moves; a drawing of an earlier turn is no longer wanted.
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
        """The subject, once there is one."""
        assert self.subject is not None
        return self.subject

    def open(self, subject: Subject, values: Mapping[str, Value]) -> None:
        """Begin with another subject."""
        self.next_turn()
        self.subject, self.values = subject, dict(values)
        self.undo, self.drawing, self.chosen = [], None, 0

    def move(self, values: Mapping[str, Value]) -> None:
        """Take new values, and keep the earlier ones for undo."""
        if dict(values) != self.values:
            self.undo = [*self.undo[-49:], self.values]
            self.values = dict(values)

    def is_drawn(self, wanted: Mapping[str, Value], options: Options) -> bool:
        """Whether the last drawing has these settings and options."""
        return self.drawing is not None and self.asked == (wanted, options)

    def next_turn(self) -> int:
        """Begin a move, which ends the drawings of all earlier moves."""
        self.turn += 1
        return self.turn

    def check(self, turn: int) -> None:
        """Raise :class:`Superseded` if a newer turn has begun."""
        if turn != self.turn:
            raise Superseded
