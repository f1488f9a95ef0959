"""The work behind the editor's page: pictures to edit, the preview, the drawing, and the messages about it.

Drawings are made one at a time, for all users, because neither the models nor the code that composes their options is
thread-safe.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spnn.app.command import command_of
from spnn.app.controls import Value, Whole, by_command_alone, changes, controls_of, edited, read_values, values_of
from spnn.app.photo import read_photo
from spnn.app.settings import Options, Subject
from spnn.app.stamp import image_of, text_of
from spnn.errors import InputError
from spnn.runs import Run
from spnn.sampling.drawn import Drawn
from spnn.sampling.targets import set_values, share_of
from spnn.session import Session
from spnn.settings import settings, working_device

log = logging.getLogger(__name__)

__all__ = ["Drawing", "Editor"]


@dataclass(frozen=True)
class Drawing:
    """A drawing of a subject.

    Attributes:
        drawn: The pictures, and what networks see in them.
        warnings: The session's warnings about the target and the pictures.
        command: The command line that draws the same.
        settings: The settings to keep inside a PNG, see :meth:`Editor.restored`.
    """

    drawn: Drawn
    warnings: list[str]
    command: str
    settings: dict[str, Any]


class Editor:
    """The page's interface to a session. It keeps nothing about users.

    Arguments:
        session: A session with an operator whose outputs have names.
        run: The session's run, as written on the command line.

    Raises:
        InputError: If there is no label that has a control.
    """

    def __init__(self, session: Session, run: str):
        models = session.models
        if models.operator is None or not models.readout.names:
            raise InputError(f"{run} has no network that sees labels, so there is nothing to edit by name.")
        self.session, self.run, self.operator, self.readout = session, run, models.operator, models.readout
        self.known, self.note = models.training_outputs, by_command_alone(models.readout)
        self.controls = controls_of(models.readout, self.known)
        if not self.controls:
            raise InputError(f"{run}: {self.note}")
        self.image_shape = tuple(models.prior.image_shape)
        self.held_out_images = _count(models.run)
        self._lock = threading.Lock()

    def held_out(self, number: int) -> Subject:
        """Return a held-out image of the run.

        Raises:
            InputError: If there is no image with that number.
        """
        if isinstance(number, bool) or not isinstance(number, int | float) or number != int(number):
            raise InputError(f"a held-out image has a whole number, got {number!r}.")
        with self._lock:
            images, y = self.session.held_out(1, int(number))
        assert y is not None  # there is an operator
        return Subject("held-out", int(number), image=images[0], y=y[0])

    def photo(self, path: str | Path) -> Subject:
        """Return a photo, cropped and resized for the models; errors as :func:`~spnn.app.photo.read_photo`."""
        return self._photo(read_photo(path, self.image_shape), Path(path).name)

    def noise(self) -> Subject:
        """Return a subject without a picture, for drawing a new one."""
        return Subject("noise")

    def own_values(self, subject: Subject) -> dict[str, Value]:
        """The controls' initial values, by their keys: what ``g`` sees in the subject. For noise, sliders start at the
        training images' mean, menus have nothing chosen, maps are blank, and there are no objects."""
        if subject.y is not None:
            return values_of(self.controls, subject.y, self.readout)
        usual = torch.zeros(len(self.readout.names)) if self.known is None else self.known.mean.clone()
        for control in self.controls:
            if isinstance(control, Whole):
                usual[list(control.places)] = torch.nan
        return values_of(self.controls, usual, self.readout)

    def values(self, subject: Subject, values: Mapping[str, object]) -> dict[str, Value]:
        """Read the values of the page's controls, see :func:`~spnn.app.controls.read_values`."""
        return read_values(self.controls, self.own_values(subject), values)

    def changes(self, subject: Subject, values: Mapping[str, object]) -> dict[str, float | str]:
        """The settings that were changed, see :func:`~spnn.app.controls.changes`."""
        return changes(self.controls, self.own_values(subject), values)

    def changed(self, subject: Subject, values: Mapping[str, Value]) -> set[str]:
        """The keys of the controls that were changed."""
        own = self.own_values(subject)
        return {control.key for control in self.controls if control.edit(own[control.key], values[control.key])}

    def in_words(self, subject: Subject, values: Mapping[str, Value]) -> list[str]:
        """The changes as texts: ``Eyeglasses +3.2 (was -5.1)``."""
        own, changed, said = self.own_values(subject), self.changed(subject, values), []
        for control in self.controls:
            before, now = own[control.key], values[control.key]
            if control.key in changed:
                text = "" if subject.y is None else control.text(before, self.readout)
                was = f" (was {text})" if text else ""
                said += [f"{words}{was}" for words in control.words(before, now, self.readout)]
        return said

    def target(self, subject: Subject, wanted: Mapping[str, float | str], options: Options) -> Tensor:
        """The outputs that an edit asks for, [1, K].

        Raises:
            InputError: If a value can't be read, or nothing is set.
        """
        others = options.others_of("edit")
        if others is None:
            others = "keep" if self.known is None else "follow"
        share = 0.0 if others == "free" else share_of(others, "edit.others")
        assert subject.y is not None  # noise alone can't be edited
        return set_values(subject.y[None], self.readout, wanted, "edit.set", self.known, share=share)[0]

    def back_projected(self, subject: Subject, target: Tensor) -> Tensor:
        """Apply NLBP to the picture once: an image [C, H, W] with ``g(x) = target``, [1, K]; not clipped."""
        assert subject.image is not None
        with self._lock, settings(), torch.no_grad():
            device = working_device()
            operator = self.operator.to(device)
            return operator.back_project(subject.image[None].to(device), target.to(device))[0].cpu()

    def preview(self, subject: Subject, wanted: Mapping[str, float | str], options: Options) -> Tensor:
        """The picture after one step of NLBP, [C, H, W] in [-1, 1]; errors as :meth:`target`."""
        return self.back_projected(subject, self.target(subject, wanted, options)).clamp(-1, 1)

    def draw(
        self,
        subject: Subject,
        wanted: Mapping[str, float | str],
        options: Options,
        watch: Callable[[float], None] | None = None,
    ) -> Drawing:
        """Draw the edited picture with the session.

        Arguments:
            subject: The picture to edit.
            wanted: The settings, by name.
            options: How to draw.
            watch: Called after each step with the share that is done; an exception that it raises ends the drawing.

        Raises:
            InputError: If nothing is set, or an option can't be met.
        """
        common: dict[str, Any] = {
            "steps": options.steps,
            "seed": options.seed,
            "per_target": options.variants,
            "guidance": options.guidance,
            "watch": watch,
        }
        with self._lock, _warnings() as warnings:
            if subject.image is None:
                drawn = self.session.generate(wanted, 1, others=options.others_of("generate"), **common)
            else:
                drawn = self.session.edit(
                    subject.image[None],
                    wanted,
                    others=options.others_of("edit"),
                    start="noise" if options.start is None else options.start,
                    values={"first": subject.number},  # the command's seeds count from the image's number
                    **common,
                )
        doubts = {self.readout.doubt(name, value) for name, value in wanted.items()}  # meant for typed numbers
        said = [sentence for sentence in warnings if sentence not in doubts]
        command = command_of(self.run, subject, wanted, options)
        return Drawing(drawn, said, command, self._settings(subject, wanted, options, command))

    def restored(self, found: Mapping[str, Any]) -> tuple[Subject, dict[str, Value], Options]:
        """Restore the subject, all controls' values and the options from a PNG's settings.

        Raises:
            InputError: If the settings are from another run, or damaged.
        """
        if found.get("run") != self.run:
            raise InputError(f"its settings are for the run {found.get('run')}, not for {self.run}.")
        try:
            subject = self._restored_subject(found)
            wanted = dict(found["set"])
            values = edited(self.controls, self.own_values(subject), wanted)
            if not self.changes(subject, values):
                raise ValueError("they set nothing")
            return subject, values, Options(**found["options"])
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:  # InputError among them
            raise InputError(f"its settings are damaged: {error}.") from error

    def _restored_subject(self, found: Mapping[str, Any]) -> Subject:
        if found["from"] == "noise":
            return self.noise()
        if found["from"] == "held-out":
            return self.held_out(found["number"])
        return self._photo(image_of(found["photo"], self.image_shape), Path(str(found["name"])).name)

    def _photo(self, image: Tensor, name: str) -> Subject:
        with self._lock:
            return Subject("photo", name=name, image=image, y=self.session.outputs(image[None])[0])

    def _settings(
        self, subject: Subject, wanted: Mapping[str, float | str], options: Options, command: str
    ) -> dict[str, Any]:
        from_what: dict[str, Any] = {"from": subject.kind, "number": subject.number}
        if subject.kind == "photo" and subject.image is not None:
            from_what |= {"name": subject.name, "photo": text_of(subject.image)}
        return {"run": self.run, **from_what, "set": dict(wanted), "options": asdict(options), "command": command}


def _count(run: Run | None) -> int:
    """The number of a run's held-out images; 0 if its data aren't here."""
    try:
        return 0 if run is None else len(run.source.split("test"))
    except (InputError, OSError) as error:
        log.warning("no held-out images: %s", error)
        return 0


class _InThread(logging.Handler):
    """Keeps the warnings of the thread that created it."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.thread, self.said = threading.get_ident(), []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.said.append(record.getMessage())


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """The warnings that this package logs in this thread, as texts."""
    handler = _InThread()
    logger = logging.getLogger("spnn")
    logger.addHandler(handler)
    try:
        yield handler.said
    finally:
        logger.removeHandler(handler)
