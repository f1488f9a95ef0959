"""The controls' widgets on the page: a slider, a menu, a map to paint on, a table."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import gradio as gr
import numpy as np

from spnn.app.controls import Control, Slider, Value, Whole
from spnn.app.work import Work

__all__ = ["Widget", "widget_of"]

_ANY = "(any)"  # a menu's entry for no choice
_BACK = "(as before)"  # among a map's classes, removes paint
_WIDE = 320  # width of a map in pixels, roughly
_BLANK, _CORNER = 0.2, 0.5  # greys for a cell without a class, and for a rectangle's first corner
_NEW = (0.5, 0.5, 0.25, 0.25)  # centre across and down, width and height of a newly added object
_COLUMNS = ("class", "x", "y", "width", "height")

Own = Callable[[Work], Value]
"""Gives a control's own value in a session's picture."""


class Widget(ABC):
    """A control on the page.

    Attributes:
        holder: The component that holds the control's value.
        named: The component that shows its name.
        parts: All components that :meth:`at` changes.
        css: The widget's own style sheet.
    """

    holder: Any  # a component; Gradio adds events to it that type checkers don't see
    named: Any
    css = ""

    @property
    def parts(self) -> list[gr.components.Component]:
        return [self.holder]

    @abstractmethod
    def at(self, own: Value, value: Value) -> dict:
        """The updates that show a value, given the picture's own value."""

    def label(self, text: str) -> dict:
        """The updates that change its name."""
        return {self.named: gr.update(label=text)}

    def read(self, shown: Any) -> object:
        """The control's value, from what its holder contains."""
        return shown

    @abstractmethod
    def connect(self, work: gr.State, own: Own, draw: dict[str, Any]) -> None:
        """Connect the user's moves to the functions that handle them."""


def widget_of(control: Control, number: int) -> Widget:
    """Make the widget of a control, and lay it out where this is called."""
    if isinstance(control, Slider):
        return _Slider(control, number)
    assert isinstance(control, Whole)
    kinds: dict[str, Callable[[Whole, int], Widget]] = {"choice": _Menu, "map": _Map, "objects": _Table}
    return kinds[control.part.by_hand](control, number)


def _place(number: int) -> dict[str, Any]:
    return {"elem_id": f"control-{number}", "elem_classes": "control"}


class _Slider(Widget):
    def __init__(self, control: Slider, number: int):
        low, high, self.control = control.low, control.high, control
        named: dict[str, Any] = {"label": control.key, "buttons": [], **_place(number)}
        self.holder = self.named = gr.Slider(low, high, low, step=control.step, **named)

    def at(self, own: Value, value: Value) -> dict:
        low, high = self.control.ends(own)
        return {self.holder: gr.update(value=value, minimum=low, maximum=high)}

    def connect(self, work: gr.State, own: Own, draw: dict[str, Any]) -> None:
        gr.on(self.holder.release, **draw)


class _Menu(Widget):
    def __init__(self, control: Whole, number: int):
        self.choices = control.part.choices
        self.holder = self.named = gr.Dropdown([_ANY, *self.choices], value=_ANY, label=control.key, **_place(number))

    def at(self, own: Value, value: Value) -> dict:
        return {self.holder: gr.update(value=value or _ANY, choices=[*[_ANY] * (not own), *self.choices])}

    def read(self, shown: Any) -> object:
        return None if shown == _ANY else shown

    def connect(self, work: gr.State, own: Own, draw: dict[str, Any]) -> None:
        gr.on(self.holder.input, **draw)


class _Map(Widget):
    """Cells in the colours of their classes. A click paints one, or is one of two corners of a rectangle."""

    def __init__(self, control: Whole, number: int):
        assert control.part.grid is not None
        (self.height, self.width), colours = control.part.grid, control.part.legend
        self.factor = max(8, _WIDE // max(self.height, self.width))
        self.colours = {name: np.array(colours[name]) for name in control.part.choices}
        self.holder, self.corner = gr.State(("",) * (self.height * self.width)), gr.State(None)
        place = f"control-{number}"
        with gr.Column(elem_classes="together"):
            self.named = gr.Markdown(control.key)
            self.picture: Any = gr.Image(
                type="numpy", format="png", show_label=False, interactive=False, buttons=[], elem_id=place
            )
            self.brush = gr.Radio(
                [*self.colours, _BACK],
                value=next(iter(self.colours)),
                show_label=False,
                container=False,
                elem_id=f"{place}-classes",
            )
            self.rectangle: Any = gr.Checkbox(
                False, label="rectangles, by two corners", container=False, elem_id=f"{place}-rectangle"
            )
        swatches = [
            f"#{place}-classes label:nth-of-type({k}) {{border-left: 12px solid rgb({_css(colour)})}}"
            for k, colour in enumerate(self.colours.values(), 1)
        ]
        self.css = "\n".join([f"#{place} img {{image-rendering: pixelated; cursor: crosshair}}", *swatches])

    @property
    def parts(self) -> list[gr.components.Component]:
        return [self.holder, self.corner, self.picture]

    def label(self, text: str) -> dict:
        return {self.named: text}

    def at(self, own: Any, value: Any) -> dict:
        return {self.holder: value, self.corner: None, self.picture: self._picture(own, value)}

    def connect(self, work: gr.State, own: Own, draw: dict[str, Any]) -> None:
        def click(work: Work, value: Any, brush: str, by_corners: bool, corner: Any, at: gr.SelectData) -> dict:
            """Paint a cell or a rectangle, or remember a corner."""
            if work.subject is None:
                return {self.corner: None}
            across, down = at.index  # pixels; not to be trusted, because a client may send anything
            row = min(max(int(down) // self.factor, 0), self.height - 1)
            column = min(max(int(across) // self.factor, 0), self.width - 1)
            before: Any = own(work)
            if by_corners and corner is None:
                return {self.corner: (row, column), self.picture: self._picture(before, value, (row, column))}
            rows, columns = zip(corner or (row, column), (row, column), strict=True)
            painted = list(value)
            for r, c in product(range(min(rows), max(rows) + 1), range(min(columns), max(columns) + 1)):
                cell = r * self.width + c
                painted[cell] = before[cell] if brush == _BACK else brush
            return self.at(before, tuple(painted))

        inputs = [work, self.holder, self.brush, self.rectangle, self.corner]
        in_turn: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "multiple", "concurrency_limit": 1}
        self.picture.select(click, inputs, self.parts, **in_turn).then(**draw)  # no quick click is lost
        self.rectangle.input(lambda: None, None, self.corner, show_progress="hidden")

    def _picture(self, own: Sequence[str], value: Sequence[str], corner: tuple[int, int] | None = None) -> np.ndarray:
        """The cells, divided by lines; those that changed have a frame."""
        size, edge = self.factor, max(1, self.factor // 12)
        picture = np.zeros((self.height, size, self.width, size, 3))
        for cell, (before, now) in enumerate(zip(own, value, strict=True)):
            row, column = divmod(cell, self.width)
            tile = picture[row, :, column]
            if before != now:
                tile[1:, 1:] = 1
                tile[edge + 1 : -edge, edge + 1 : -edge] = 0
                inside = tile[2 * edge + 1 : -2 * edge, 2 * edge + 1 : -2 * edge]
            else:
                inside = tile[1:, 1:]
            inside[:] = self.colours.get(now, _BLANK) if (row, column) != corner else _CORNER
        return (255 * picture).round().astype(np.uint8).reshape(self.height * size, self.width * size, 3)


class _Table(Widget):
    """Objects, one editable row each; a click into a row selects it for removal."""

    def __init__(self, control: Whole, number: int):
        self.key, place = control.key, f"control-{number}"
        types: list[Any] = ["str", *["number"] * 4]
        with gr.Column(elem_classes="together"):
            self.holder = self.named = gr.Dataframe(
                headers=list(_COLUMNS),
                datatype=types,
                column_count=len(_COLUMNS),
                column_widths=["34%", "15%", "15%", "18%", "18%"],
                type="array",
                interactive=True,
                label=control.key,
                buttons=[],
                elem_id=place,
            )
            self.row = gr.State(None)
            with gr.Row():
                classes = list(control.part.choices)
                kind: dict[str, Any] = {
                    "show_label": False,
                    "container": False,
                    "min_width": 100,
                    "elem_id": f"{place}-class",
                }
                self.kind = gr.Dropdown(classes, value=classes[0], **kind)
                self.add = gr.Button("Add", size="sm", min_width=60, elem_id=f"{place}-add")
                self.remove = gr.Button("Remove", size="sm", min_width=60, elem_id=f"{place}-remove")

    @property
    def parts(self) -> list[gr.components.Component]:
        return [self.holder, self.row]

    def at(self, own: Value, value: Any) -> dict:
        return {self.holder: gr.update(value=[list(row) for row in value]), self.row: None}

    def connect(self, work: gr.State, own: Own, draw: dict[str, Any]) -> None:
        def add(rows: list[list], kind: str) -> list[list]:
            return [*(row for row in rows if any(row)), [kind, *_NEW]]

        def remove(rows: list[list], chosen: int | None) -> tuple[list[list], None]:
            if chosen is None:
                gr.Info("Click into the row that is to be removed.")
            return [row for number, row in enumerate(rows) if number != chosen], None

        def choose(at: gr.SelectData) -> int:
            return at.index[0]

        quiet: dict[str, Any] = {"show_progress": "hidden"}
        gr.on(self.holder.input, **draw)
        self.holder.select(choose, None, self.row, **quiet)
        self.add.click(add, [self.holder, self.kind], self.holder, **quiet).then(**draw)
        self.remove.click(remove, [self.holder, self.row], [self.holder, self.row], **quiet).then(**draw)


def _css(colour: np.ndarray) -> str:
    return ", ".join(str(round(255 * part)) for part in colour)
