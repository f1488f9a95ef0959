"""The editor's page, built with Gradio. It shows the results of :class:`~spnn.app.editor.Editor`; all it knows about a
visitor is a :class:`~spnn.app.work.Work` in the session's state."""

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from torch import Tensor

from spnn.app.controls import Control, Value
from spnn.app.editor import Editor
from spnn.app.photo import LARGEST_FILE, check_photo
from spnn.app.seen import bars_of, chart, in_words
from spnn.app.settings import GUIDANCES, OTHERS, Options, Subject
from spnn.app.stamp import read_stamp, stamped
from spnn.app.widgets import widget_of
from spnn.app.work import Superseded, Work
from spnn.errors import InputError
from spnn.runs.embedded import DEFAULT
from spnn.sampling.pictures import to_bytes
from spnn.session import Session

__all__ = ["Page", "serve"]

log = logging.getLogger(__name__)

_KINDS = ("held-out", "photo", "noise")
_WIDE = 400  # the least width of a picture on the page, in pixels
_KEPT = 3600  # seconds that temporary files are kept after a session used them, and between two clean-ups
_FEW = 8  # controls; only more than these need a search field
_AT_ONCE = 16  # moves that may wait for the models at once
_FAILED = "Something went wrong, and the server's log has it. The editor goes on: move a control, or open a picture."

_CSS = """
#controls {flex-wrap: nowrap}
#controls.many {max-height: max(100vh - 400px, 300px); overflow-y: auto}
#controls .together {gap: 6px; flex-shrink: 0}
#controls .form {display: block; overflow: visible}
#controls .control {padding: 3px 10px; flex-shrink: 0; overflow: visible}
#controls .control span {font-size: 13px; margin-bottom: 0}
#controls .control input[type=number] {height: 24px; width: 64px}
#kind label {padding: 6px 10px}
#command textarea {font-family: monospace; font-size: 12px}
#picture img, #variants img {image-rendering: pixelated}
#variants .grid-container {grid-template-columns: repeat(4, minmax(0, 1fr))}
#variants .grid-wrap {overflow: hidden; padding-top: 30px}
#photo {min-height: 90px}
footer {display: none !important}
"""
_SCRIPT = """<script>
// Gradio's sliders are released by a pointer that is above them then: here by one that has left them, and by keys, too.
document.addEventListener("pointerdown", (event) => {
    if (event.target.matches("input[type=range]")) event.target.setPointerCapture(event.pointerId);
});
document.addEventListener("keyup", (event) => {
    const moves = event.target.matches("input[type=range]") && event.key !== "Tab";
    if (moves) event.target.dispatchEvent(new Event("pointerup", {bubbles: true}));
});
// A number that is typed counts when its field is left, so Enter leaves it.
document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("#controls input[type=number]")) event.target.blur();
});
document.addEventListener("input", (event) => {
    if (!event.target.closest("#search")) return;
    const text = event.target.value.trim().toLowerCase().replaceAll("_", " ");
    for (const control of document.querySelectorAll("#controls .control"))
        control.style.display = control.textContent.toLowerCase().includes(text) ? "" : "none";
});
document.addEventListener("paste", (event) => {
    const input = document.querySelector("#photo input[type=file]");
    if (!input || !event.clipboardData.files.length) return;
    input.files = event.clipboardData.files;
    input.dispatchEvent(new Event("change", {bubbles: true}));
});
</script>"""


def serve(run: str | Path = DEFAULT, host: str | None = None, port: int | None = None) -> None:
    """Serve the editor of a run until the process is interrupted.

    Arguments:
        run: The run's folder or name.
        host: The address to listen on; None for ``GRADIO_SERVER_NAME``, or for this machine alone if that isn't set.
        port: The port; None for a free one from 7860 on.

    Raises:
        InputError: If there is no such run, it has nothing to edit, or the port is taken.
    """
    editor = Editor(Session.load(run), str(run))
    with tempfile.TemporaryDirectory(prefix="spnn-edit-") as folder:  # all uploads, drawings and downloads
        os.environ["GRADIO_TEMP_DIR"] = folder
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the folder is removed in this case, too
        try:
            Page(editor).launch(host, port)
        except OSError as error:
            raise InputError(f"can't listen on {host}, port {port}: choose another --port, or --host.") from error


class Page:
    """The page of an editor.

    Arguments:
        editor: The work behind it.
    """

    def __init__(self, editor: Editor):
        self.editor = editor
        quiet: dict[str, Any] = {"analytics_enabled": False, "delete_cache": (_KEPT, _KEPT)}
        with gr.Blocks(title="spnn edit", fill_width=True, **quiet) as self.blocks:
            self.work = gr.State(Work())
            gr.Markdown(f"### spnn edit: {Path(editor.run).name}")
            with gr.Row(equal_height=False):
                with gr.Column(scale=4, min_width=300):
                    self._lay_out_subject()
                    self._lay_out_controls()
                with gr.Column(scale=5, min_width=380):
                    self._lay_out_picture()
                with gr.Column(scale=5, min_width=360):
                    self._lay_out_seen()
            self._connect()

    def launch(self, host: str | None = None, port: int | None = None, **options: Any) -> Any:
        """Serve the page; further ``options`` are passed to Gradio's ``launch``."""
        return self.blocks.queue(default_concurrency_limit=_AT_ONCE).launch(
            server_name=host,
            server_port=port,
            share=False,
            ssr_mode=False,
            max_file_size=LARGEST_FILE,
            theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),  # no external fonts
            css="\n".join([_CSS, *(widget.css for widget in self.widgets)]),
            head=_SCRIPT,
            **options,
        )

    def _lay_out_subject(self) -> None:
        count = self.editor.held_out_images
        kinds = _KINDS if count else _KINDS[1:]
        self.kind = gr.Radio(kinds, value=kinds[0], show_label=False, container=False, elem_id="kind")
        self.number = gr.Number(
            0, label=f"number, 0 to {count - 1}", precision=0, minimum=0, visible=count > 0, elem_id="number"
        )
        self.photo = gr.File(
            label="a photo, or a PNG made here (20 MB at most); pasting works, too",
            file_types=["image"],
            type="filepath",
            height=130,
            visible=not count,
            elem_id="photo",
        )
        self.notice = gr.Markdown(elem_id="notice")

    def _lay_out_controls(self) -> None:
        many = len(self.editor.controls) > _FEW
        self.search = gr.Textbox(
            placeholder="search", show_label=False, container=False, visible=many, elem_id="search"
        )
        with gr.Column(elem_id="controls", elem_classes="many" if many else None):
            self.widgets = [widget_of(control, number) for number, control in enumerate(self.editor.controls)]
        self.controls = [widget.holder for widget in self.widgets]
        self.moving = list({x: None for widget in self.widgets for x in widget.parts})
        with gr.Row():
            self.undo = gr.Button("Undo", size="sm", min_width=80, elem_id="undo")
            self.reset = gr.Button("Reset", size="sm", min_width=80, elem_id="reset")
        if self.editor.note:
            gr.Markdown(self.editor.note)

    def _lay_out_picture(self) -> None:
        self.picture = gr.ImageSlider(
            label="before | after", type="numpy", format="png", interactive=False, height=430, elem_id="picture"
        )
        self.status = gr.Markdown(" ", elem_id="status", min_height=30)
        self.variants = gr.Gallery(
            label="variants",
            columns=4,
            height=150,
            format="png",
            allow_preview=False,
            visible=False,
            elem_id="variants",
        )
        with gr.Row():
            self.again = gr.Button("Draw with another seed", size="sm", elem_id="again")
            self.download = gr.DownloadButton("Download PNG", size="sm", interactive=False, elem_id="download")
        usual = Options()
        with gr.Accordion("How to draw", open=False):
            with gr.Row():
                self.variant_count = gr.Slider(1, 4, usual.variants, step=1, label="variants")
                self.steps = gr.Slider(10, 250, usual.steps, step=1, label="steps")
            with gr.Row():
                self.start = gr.Slider(100, 999, usual.start, step=1, label="noise on the picture (start)")
                self.from_noise = gr.Checkbox(False, label="from noise alone")
            with gr.Row():
                self.seed = gr.Number(usual.seed, label="seed", precision=0, minimum=0, elem_id="seed", min_width=80)
                self.others = gr.Dropdown(list(OTHERS), value=usual.others, label="the other labels", min_width=110)
                self.guidance = gr.Dropdown(list(GUIDANCES), value=usual.guidance, label="guidance", min_width=130)

    def _lay_out_seen(self) -> None:
        self.changed = gr.Markdown(elem_id="changed")
        self.chart = gr.Plot(show_label=False, container=False, format="png", elem_id="chart")
        self.said = gr.Markdown(elem_id="said")
        self.command = gr.Textbox(
            label="the same on the command line",
            lines=3,
            interactive=False,
            buttons=["copy"],
            visible=False,
            elem_id="command",
        )

    def _connect(self) -> None:
        """Connect events to the functions that handle them."""
        drawn = [self.picture, self.variants, self.status, self.changed, self.chart, self.said, self.command]
        drawn += [self.download, *(widget.named for widget in self.widgets)]
        options: list[Any] = [self.steps, self.seed, self.start, self.from_noise, self.guidance, self.others]
        options.append(self.variant_count)
        opened = [self.kind, self.number, self.photo, *options, *self.moving, self.notice]
        draw = {
            "fn": self._redraw,
            "inputs": [self.work, *options, *self.controls],
            "outputs": drawn,
            "show_progress": "full",
            "show_progress_on": self.status,
            "trigger_mode": "multiple",
        }

        def opens(triggers: Any, function: Callable, inputs: list) -> None:
            """Connect events that open a picture, after which it is drawn."""
            how = {"show_progress": "hidden", "trigger_mode": "always_last"}  # a typed number arrives digit by digit
            gr.on(triggers, function, [self.work, *inputs], opened, **how).then(**draw)

        opens(self.blocks.load, self._open, [self.kind, self.number])
        opens([self.kind.input, self.number.input], self._open, [self.kind, self.number])
        opens(self.photo.upload, self._open_photo, [self.photo])
        gr.on(self.undo.click, self._undo, self.work, self.moving, show_progress="hidden").then(**draw)
        gr.on(self.reset.click, self._reset, self.work, self.moving, show_progress="hidden").then(**draw)
        gr.on(self.again.click, lambda seed: seed + 1, self.seed, self.seed, show_progress="hidden").then(**draw)
        gr.on([x.release if isinstance(x, gr.Slider) else x.input for x in options], **draw)
        for widget, control in zip(self.widgets, self.editor.controls, strict=True):
            widget.connect(self.work, partial(self._own, control.key), draw)
        self.variants.select(self._choose, self.work, drawn, show_progress="hidden")

    def _open(self, work: Work, kind: str, number: int | None) -> dict:
        """Open a held-out image or noise; for a photo, wait for the file."""
        shown = {self.number: gr.update(visible=kind == "held-out"), self.notice: ""}
        shown[self.photo] = gr.update(visible=kind == "photo")
        if kind == "photo":
            return shown
        try:
            if kind == "noise":
                subject = self.editor.noise()
            elif number is None:
                raise InputError("which held-out image? Give its number.")
            else:
                subject = self.editor.held_out(number)
        except InputError as error:
            return shown | {self.notice: f"⚠ {error}"}
        return shown | self._opened(work, subject)

    def _open_photo(self, work: Work, path: str) -> dict:
        """Open a photo; if it is a PNG with settings inside, restore these."""
        said = ""
        try:
            check_photo(path)
            found = read_stamp(path)
            if found is not None:
                try:
                    subject, values, options = self.editor.restored(found)
                    return self._opened(work, subject, values) | self._restored(subject, options)
                except InputError as error:
                    said = f"It is taken for a photo: {error}"
            return self._opened(work, self.editor.photo(path)) | {self.notice: said}
        except InputError as error:
            return {self.photo: None, self.notice: f"⚠ {error}"}
        except Exception:
            log.exception("a photo can't be opened")
            return {self.photo: None, self.notice: f"⚠ {_FAILED}"}

    def _opened(self, work: Work, subject: Subject, values: dict[str, Value] | None = None) -> dict:
        """Begin with a subject; return the updates of the controls' values and ranges."""
        own = self.editor.own_values(subject)
        work.open(subject, own)
        work.marked = None
        if values is not None:
            work.move(values)
        return self._at(work)

    def _restored(self, subject: Subject, options: Options) -> dict:
        kind = subject.kind
        return {
            self.kind: kind,
            self.number: gr.update(value=subject.number, visible=kind == "held-out"),
            self.photo: gr.update(visible=kind == "photo"),
            self.steps: options.steps,
            self.seed: options.seed,
            self.start: Options().start if options.start is None else options.start,
            self.from_noise: options.start is None,
            self.guidance: options.guidance,
            self.others: options.others,
            self.variant_count: options.variants,
            self.notice: "The settings in the PNG are restored.",
        }

    def _redraw(self, work: Work, *inputs: Any, progress: gr.Progress = gr.Progress()) -> Iterator[dict]:  # noqa: B008
        """Show the result of one step, then the drawing. A newer move ends this one, and shows its own results."""
        if work.subject is None:
            yield {self.status: "There is no picture yet: choose one on the left."}
            return
        subject = work.subject
        try:
            steps, seed, start, from_noise, guidance, others, variants, *moved = inputs
            shown = zip(self.editor.controls, self.widgets, moved, strict=True)
            values = self.editor.values(subject, {control.key: widget.read(x) for control, widget, x in shown})
            wanted = self.editor.changes(subject, values)
            options = Options(steps, seed, None if from_noise else start, guidance, others, variants)
            if work.is_drawn(wanted, options):  # the field's value hasn't changed
                yield {self.status: gr.skip()}  # if nothing were yielded, Gradio would blank the page
                return
            turn = work.next_turn()
            work.move(values)
            yield self._begun(work, wanted, options)
            if not wanted:
                return

            def watch(share: float) -> None:
                work.check(turn)
                progress(share, desc="drawing")

            work.check(turn)
            drawing = self.editor.draw(subject, wanted, options, watch)
            work.check(turn)
            work.drawing, work.asked, work.chosen = drawing, (wanted, options), 0
            yield self._drawn(work)
        except Superseded:
            return
        except InputError as error:
            yield {self.status: f"⚠ {error}"}
        except Exception:
            log.exception("a drawing failed")
            yield {self.status: f"⚠ {_FAILED}"}

    def _begun(self, work: Work, wanted: dict[str, float | str], options: Options) -> dict:
        """The updates before the drawing: the preview, and the list of changes."""
        subject, work.drawing = work.opened, None
        words = self.editor.in_words(subject, work.values)
        shown = {
            self.variants: gr.update(visible=False),
            self.changed: f"**changed:** {', '.join(words)}" if words else "**changed:** nothing yet",
            self.chart: gr.update(value=None, visible=False) if not wanted else gr.skip(),
            self.said: "",
            self.command: gr.update(visible=False),
            self.download: gr.update(interactive=False),
            **self._marked(work, self.editor.changed(subject, work.values)),
        }
        if not wanted:
            what = "a picture of it is drawn" if subject.image is None else "the picture follows"
            return shown | {
                self.picture: self._beside(subject, subject.image),
                self.status: f"Move a control, and {what}.",
            }
        if subject.image is None:
            return shown | {self.status: "Drawing."}
        preview = self.editor.preview(subject, wanted, options)
        return shown | {self.picture: self._beside(subject, preview), self.status: "One step of NLBP. Drawing."}

    def _drawn(self, work: Work) -> dict:
        """The updates after the drawing: the chosen variant, what is seen in it, and its file."""
        drawing, chosen = work.drawing, work.chosen
        assert drawing is not None
        drawn, image = drawing.drawn, drawing.drawn.images[work.chosen]
        said = [*in_words(drawn, chosen), *(f"⚠ {_sentence(text)}" for text in drawing.warnings)]
        file = Path(tempfile.mkdtemp(dir=os.environ.get("GRADIO_TEMP_DIR")), "edited.png")
        file.write_bytes(stamped(image, drawing.settings))
        return {
            self.picture: self._beside(work.opened, image),
            self.variants: gr.update(value=[_shown(one) for one in drawn.images], visible=len(drawn.images) > 1),
            self.status: "Drawn." if len(drawn.images) == 1 else f"Variant {chosen + 1} of {len(drawn.images)}.",
            self.chart: gr.update(value=chart(bars_of(drawn, chosen)), visible=True),
            self.said: "\n\n".join(said),
            self.command: gr.update(value=drawing.command, visible=True),
            self.download: gr.update(value=str(file), interactive=True),
        }

    def _choose(self, work: Work, chosen: gr.SelectData) -> dict:
        """Show another variant."""
        if work.drawing is None:
            return {}
        work.chosen = chosen.index
        return self._drawn(work)

    def _undo(self, work: Work) -> dict:
        if work.subject is None:
            return {}
        work.values = work.undo.pop() if work.undo else work.values
        return self._at(work)

    def _reset(self, work: Work) -> dict:
        if work.subject is None:
            return {}
        work.move(self.editor.own_values(work.subject))
        return self._at(work)

    def _own(self, key: str, work: Work) -> Value:
        return self.editor.own_values(work.opened)[key]

    def _at(self, work: Work) -> dict:
        """The updates that show the controls' current values."""
        own, shown = self.editor.own_values(work.opened), dict[Any, Any]()
        for widget, control in zip(self.widgets, self.editor.controls, strict=True):
            shown |= widget.at(own[control.key], work.values[control.key])
        return shown

    def _marked(self, work: Work, now: set[str]) -> dict:
        """The names of controls that have become changed or unchanged; for a new picture, those of all controls."""
        own, shown = self.editor.own_values(work.opened), dict[Any, Any]()
        for widget, control in zip(self.widgets, self.editor.controls, strict=True):
            changed = control.key in now
            if work.marked is None or changed != (control.key in work.marked):
                shown |= widget.label(self._label(work.opened, control, own[control.key], changed))
        work.marked = now
        return shown

    def _label(self, subject: Subject, control: Control, own: Value, changed: bool) -> str:
        name = f"{'● ' * changed}{control.key.replace('_', ' ')}"
        whose, text = "usual" if subject.image is None else "given", control.text(own, self.editor.readout)
        return f"{name} ({whose}: {text})" if text else name

    def _beside(self, subject: Subject, after: Tensor | None) -> tuple[np.ndarray, np.ndarray] | None:
        """Two pictures for the slider between them; a picture drawn from noise is shown on both sides."""
        if after is None:
            return None
        return _shown(after if subject.image is None else subject.image), _shown(after)


def _shown(image: Tensor) -> np.ndarray:
    """An image, enlarged so that it can be seen well."""
    factor = max(1, -(-_WIDE // image.shape[-1]))
    return to_bytes(image).repeat(factor, axis=0).repeat(factor, axis=1)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"
