"""The editor in the browser: its controls, what it draws, and what it takes from strangers."""

import io
import json
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import configuration, succeed
from PIL import Image, PngImagePlugin

import spnn.app.photo
import spnn.commands.edit
from spnn import Session
from spnn.app.controls import Slider, by_command_alone, changes, controls_of, edited, values_of
from spnn.app.editor import Drawing, Editor
from spnn.app.photo import read_photo
from spnn.app.seen import bars_of, chart, in_words
from spnn.app.settings import Options, Subject
from spnn.app.space import export_space
from spnn.app.stamp import image_of, read_stamp, stamped, text_of
from spnn.app.work import Superseded, Work
from spnn.errors import InputError
from spnn.outputs import TrainingOutputs
from spnn.readout import Binary, Boxes, Classes, ClassMap, Mixed, Values
from spnn.sampling import sample
from spnn.sampling.pictures import to_bytes

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FEW = Options(steps=10, seed=3)
MIXED = Mixed(
    [
        Binary(["Smiling"]),
        Classes(["hair_blond", "hair_black", "hair_grey"], "hair"),
        Values(["tilt"], ranges={"tilt": (-30, 30)}, units={"tilt": "deg"}),
    ]
)


@pytest.fixture(scope="module")
def editor(run) -> Editor:
    """Of digits, as ten yes-or-no answers."""
    return Editor(Session.load(run.folder), str(run.folder))


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)).save(tmp_path / "a photo.png")
    return tmp_path / "a photo.png"


def known(readout) -> TrainingOutputs:
    """Training outputs of 200 images, as a mixed readout's network might give them."""
    y = torch.randn(200, len(readout.names), generator=torch.Generator().manual_seed(0))
    return TrainingOutputs.of(y, readout.has(readout.decode(y)).float(), readout)


def moved(editor: Editor, subject: Subject) -> dict[str, float]:
    """An image's 3 made clear, and its 5 unlikely."""
    return editor.changes(subject, editor.own_values(subject) | {"digit_3": 4.0, "digit_5": -6.0})


def test_faces_have_a_slider_for_each_attribute_in_its_own_range():
    models = Session.load().models
    controls = controls_of(models.readout, models.training_outputs)
    assert [control.key for control in controls] == list(models.readout.names)
    present, absent = models.training_outputs.present[99], models.training_outputs.absent[1]
    for control, low, high in zip(controls, absent, present, strict=True):
        assert 0 <= low - control.low < control.step and 0 <= control.high - high < control.step
    assert controls[0].ends(-99.0) == (-99.0, controls[0].high)
    assert by_command_alone(models.readout) is None


def test_mixed_labels_have_sliders_and_menus_in_the_users_units():
    smiling, hair, tilt = controls_of(MIXED, known(MIXED))
    assert (hair.key, hair.part.choices) == ("hair", ("blond", "black", "grey"))
    assert -100 < tilt.low < -30 and 30 < tilt.high < 100 and tilt.step == 1.0  # normal outputs, of which 1 is 30 deg
    y = torch.tensor([1.26, 0.0, 2.0, 1.0, 0.5])
    own = values_of([smiling, hair, tilt], y, MIXED)
    assert own == {"Smiling": pytest.approx(1.26, abs=smiling.step), "hair": "black", "tilt": 15.0}
    wanted = changes([smiling, hair, tilt], own, own | {"hair": "grey", "tilt": -3.2})
    assert wanted == {"hair": "grey", "tilt": -3.0}
    assert MIXED.settings(wanted) == {3: True, 4: pytest.approx(-0.1)}
    assert tilt.text(-3.0, MIXED) == "-3 deg"
    for strange in ({"hair": "green"}, {"tilt": "x"}, {"tilt": float("nan")}):
        with pytest.raises(InputError):
            changes([smiling, hair, tilt], own, own | strange)


def test_a_map_has_cells_to_paint():
    region = ClassMap(["skin", "hair", "hat"], 3, 4)
    readout = Mixed([Binary(["Smiling"]), region])
    smiling, cells = controls = controls_of(readout, None)
    assert smiling.low == -6 and cells.part is region and by_command_alone(readout) is None
    y = torch.zeros(len(readout.names)).index_fill(0, torch.tensor(cells.places[:12]), 3.0)
    own = values_of(controls, y, readout)
    assert own["map"] == ("skin",) * 12
    painted = ["skin", "hair", "hair", "skin", "hat", "hair", "hair", "skin", "skin", "skin", "skin", "hair"]
    wanted = changes(controls, own, own | {"map": tuple(painted)})
    assert wanted == {"hair": "[0:2,1:3] and [2,3]", "hat": "[1,0]"}
    assert edited(controls, own, wanted) == own | {"map": tuple(painted)}
    assert {readout.names[k] for k in readout.settings(wanted)} == {
        *(f"hair[{cell}]" for cell in ("0,1", "0,2", "1,1", "1,2", "2,3")),
        "hat[1,0]",
    }
    y[:] = torch.nan  # noise
    assert values_of(controls[1:], y, readout)["map"] == ("",) * 12
    for strange in ({"map": "/etc/passwd"}, {"hair": "x"}, {"beard": "[0,0]"}):
        with pytest.raises(InputError):
            edited(controls, own, strange)


def test_boxes_are_added_moved_and_removed():
    boxes = Boxes(["dog", "cat"], 4, 4)
    (control,) = controls = controls_of(boxes, None)
    labels = boxes.labels_of(torch.tensor([[0.1, 0.1, 0.3, 0.5], [0.6, 0.6, 0.9, 0.8]]), [0, 1])
    own = values_of(controls, boxes.encode(labels).clamp(-5, 5), boxes)
    dog, cat = ("dog", 0.2, 0.3, 0.2, 0.4), ("cat", 0.75, 0.7, 0.3, 0.2)
    assert sorted(own["objects"]) == [cat, dog] and not isinstance(control, Slider)
    for rows, wanted in (
        ([dog, cat, ["dog", "0.5", 0.501, 0.3, 0.3], ["", None, None, "", ""]], {"add": "dog 0.50 0.50 0.30 0.30"}),
        ([cat], {"remove": "0.20 0.30"}),
        ([("dog", 0.9, 0.3, 0.2, 0.4), cat], {"remove": "0.20 0.30", "add": "dog 0.90 0.30 0.20 0.40"}),
        ([cat, dog], {}),
    ):
        assert changes(controls, own, {"objects": rows}) == wanted
        restored = edited(controls, own, wanted)
        assert sorted(restored["objects"]) == sorted(control.read(rows))
        assert changes(controls, own, restored) == wanted
    for strange in (["wolf", 0.5, 0.5, 0.3, 0.3], ["dog", "x", 0.5, 0.3, 0.3], ["dog", 0.5, 0.5, 0, 3], ["dog", 0.5]):
        with pytest.raises(InputError):
            changes(controls, own, {"objects": [dog, cat, strange]})


def test_what_no_control_can_set_is_left_to_the_command_line():
    class Named(Binary):
        keys = ("all",)

    assert not controls_of(Named(["a", "b"]), None)
    assert "command line" in by_command_alone(Named(["a", "b"]))


def test_options_out_of_range_are_refused():
    assert Options(steps=20.0).steps == 20
    for option in ({"steps": 0}, {"steps": 1e9}, {"seed": None}, {"variants": 5}, {"start": 2000}, {"guidance": "dps"}):
        with pytest.raises(InputError):
            Options(**option)


def test_only_the_latest_move_is_drawn_and_earlier_ones_come_back():
    work, other = Work(), Work()
    work.open(Subject("noise"), {"a": 1.0})
    for value in (2.0, 2.0, 3.0):
        work.move({"a": value})
    assert [x["a"] for x in work.undo] == [1.0, 2.0] and not other.undo
    first = work.next_turn()
    work.next_turn()
    with pytest.raises(Superseded):
        work.check(first)


@pytest.mark.slow
def test_the_preview_is_one_step_that_meets_the_target(editor):
    subject = editor.held_out(2)
    wanted = moved(editor, subject)
    assert wanted.keys() == {"digit_3", "digit_5"}
    said = editor.in_words(subject, editor.own_values(subject) | wanted)
    assert [words.split()[0] for words in said] == ["digit_3", "digit_5"]
    target = editor.target(subject, wanted, FEW)
    assert target[0, [3, 5]].tolist() == [4.0, -6.0]
    exact = editor.back_projected(subject, target)
    torch.testing.assert_close(editor.session.models.operator(exact[None]), target, rtol=0, atol=1e-3)
    assert torch.equal(editor.preview(subject, wanted, FEW), exact.clamp(-1, 1))
    kept = editor.target(subject, wanted, replace(FEW, others="keep"))
    assert torch.equal(kept[0, [0, 1, 2]], subject.y[[0, 1, 2]])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["held-out", "photo", "noise"])
def test_the_command_draws_the_same_pixels(editor, photo, tmp_path, monkeypatch, kind):
    if kind == "held-out":
        subject, options = editor.held_out(7), replace(FEW, others="keep", variants=2, start=600)
    elif kind == "photo":
        subject, options = editor.photo(photo), replace(FEW, guidance="nlbp_gentle", start=None)
    else:
        subject, options = editor.noise(), FEW
    drawing = editor.draw(subject, {"digit_3": 4.5}, options)
    monkeypatch.chdir(photo.parent)  # where the photo was saved
    files = drawn_by_command(drawing, tmp_path / "s")
    assert len(files) == options.variants


def drawn_by_command(drawing: Drawing, folder: Path) -> list[Path]:
    """The files that its command writes, which have the same pixels."""
    program, command, *words = shlex.split(drawing.command)
    assert (program, command) == ("spnn", "sample")
    sample(configuration("sample", *words), folder)
    files = sorted(path for path in folder.glob("*.png") if path.name != "grid.png")
    for file, image in zip(files, drawing.drawn.images, strict=True):
        assert np.array_equal(np.asarray(Image.open(file).convert("RGB")), to_bytes(image))
    return files


@pytest.fixture(scope="module", params=["synthetic_faces_regions", "scenes_boxes"])
def whole(request, tmp_path_factory) -> Editor:
    """Of a map, or of boxes; hardly trained."""
    folder = tmp_path_factory.mktemp("whole") / request.param
    succeed("train.py", f"experiment={request.param}", "debug=fast", f"folder={folder}")
    return Editor(Session.load(folder), str(folder))


def changed(editor: Editor, own: tuple) -> tuple:
    """Two more cells and a rectangle, or one object less and another one more."""
    if editor.controls[0].key == "objects":
        return (*own[1:], ("ellipse", 0.31, 0.5, 0.3, 0.25))
    cells, (one, other, *_) = list(own), editor.readout.choices
    for cell in (0, 17, 18, 25, 26, 46):  # of 8 x 8
        cells[cell] = one if cells[cell] == other else other
    return tuple(cells)


@pytest.mark.slow
def test_what_is_set_together_is_previewed_drawn_and_restored(whole, tmp_path):
    (control,) = whole.controls
    for subject in (whole.held_out(1), whole.noise()):
        own = whole.own_values(subject)[control.key]
        values = {control.key: changed(whole, own)}
        wanted = whole.changes(subject, values)
        assert wanted and whole.changed(subject, values) == {control.key}
        drawing = whole.draw(subject, wanted, FEW)
        drawn_by_command(drawing, tmp_path / subject.kind)
        again, restored, options = whole.restored(json.loads(json.dumps(drawing.settings)))
        assert restored == values and options == FEW and whole.changes(again, restored) == wanted
        assert all(len(bars.names) <= 17 for bars in bars_of(drawing.drawn, 0))
        with pytest.raises(InputError, match="damaged"):
            whole.restored(drawing.settings | {"set": {"map": str(tmp_path / "secret.png")}})
    subject = whole.held_out(1)
    target = whole.target(subject, whole.changes(subject, {control.key: values[control.key]}), FEW)
    assert not torch.equal(whole.preview(subject, wanted, FEW), subject.image)
    seen = whole.session.models.operator(whole.back_projected(subject, target)[None])
    torch.testing.assert_close(seen, target, rtol=0, atol=1e-2)


@pytest.mark.slow
def test_what_is_seen_is_said_and_drawn(editor):
    subject = editor.held_out(2)
    drawn = editor.draw(subject, moved(editor, subject), replace(FEW, variants=2)).drawn
    by_g, by_judge = bars_of(drawn, 1)
    assert by_g.by == "g" and by_judge.by == "the judge" and by_g.names[:2] == ["digit_3", "digit_5"]
    assert by_g.wanted[0] == pytest.approx(1 / (1 + np.exp(-4)), abs=1e-4)
    assert all(x is None for x in by_g.wanted[2:]) and len(by_g.names) == len(by_g.after) == len(by_g.before)
    assert any("variants" in sentence for sentence in in_words(drawn, 1))
    file = io.BytesIO()
    chart([by_g, by_judge]).savefig(file)
    assert file.tell() > 1000
    far = editor.draw(subject, {"digit_3": 500.0}, FEW)
    assert any("far beyond" in warning for warning in far.warnings)


@pytest.mark.slow
def test_a_drawing_can_be_ended_and_the_next_one_works(editor):
    subject, shares = editor.held_out(0), []

    def watch(share: float) -> None:
        shares.append(share)
        if len(shares) == 2:
            raise Superseded

    with pytest.raises(Superseded):
        editor.draw(subject, {"digit_3": 4.5}, FEW, watch)
    assert len(shares) == 2 and 0 < shares[0] < shares[1] < 1
    editor.draw(subject, {"digit_3": 4.5}, FEW, shares.append)
    assert shares[-1] == pytest.approx(1)


@pytest.mark.slow
def test_a_png_restores_its_settings(editor, photo, tmp_path):
    for subject in (editor.held_out(7), editor.photo(photo), editor.noise()):
        options = replace(FEW, variants=2, start=None)
        drawing = editor.draw(subject, {"digit_3": 4.5}, options)
        (tmp_path / "x.png").write_bytes(stamped(drawing.drawn.images[1], drawing.settings))
        found = read_stamp(tmp_path / "x.png")
        again, values, restored = editor.restored(found)
        assert (again.kind, again.number, again.name, restored) == (
            subject.kind,
            subject.number,
            subject.name,
            options,
        )
        assert editor.changes(again, values) == {"digit_3": 4.5}
        assert subject.image is None or torch.equal(again.image, subject.image)
        for damage in (
            {"run": "another"},
            {"set": {"no such": 1.0}},
            {"set": {"digit_3": "x"}},
            {"set": 3},
            {"options": {"steps": 1e9}},
            {"options": {"no such": 1}},
            {"from": "photo", "photo": "??"},
            {"from": "held-out", "number": 10**9},
        ):
            with pytest.raises(InputError, match="its settings are"):
                editor.restored(found | damage)


def test_settings_survive_in_a_png_and_damaged_ones_are_none(tmp_path):
    image = torch.linspace(-1, 1, 3 * 8 * 6).reshape(3, 8, 6)
    settings = {"set": {"Bärtig": 1.5}, "run": "x"}
    (tmp_path / "x.png").write_bytes(stamped(image, settings))
    assert read_stamp(tmp_path / "x.png") == settings
    assert np.array_equal(np.asarray(Image.open(tmp_path / "x.png")), to_bytes(image))
    eight_bits = torch.from_numpy(to_bytes(image).copy()).permute(2, 0, 1).float() / 127.5 - 1
    assert torch.equal(image_of(text_of(eight_bits), (3, 8, 6)), eight_bits)
    with pytest.raises(ValueError, match="pixels"):
        image_of(text_of(eight_bits), (3, 6, 8))
    for text in ("{", "[1]", "\x00"):
        notes = PngImagePlugin.PngInfo()
        notes.add_text("spnn", text)
        Image.new("RGB", (4, 4)).save(tmp_path / "damaged.png", pnginfo=notes)
        assert read_stamp(tmp_path / "damaged.png") is None
    (tmp_path / "none.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    assert read_stamp(tmp_path / "none.png") is None


def test_a_photo_is_looked_at_before_it_is_decoded(photo, tmp_path, monkeypatch):
    assert read_photo(photo, (3, 16, 16)).shape == (3, 16, 16)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    with pytest.raises(InputError, match=r"^broken.jpg can't be read") as raised:
        read_photo(tmp_path / "broken.jpg", (3, 16, 16))
    assert str(tmp_path) not in str(raised.value)
    monkeypatch.setattr(spnn.app.photo, "load_image", None)  # which would fail
    monkeypatch.setattr(spnn.app.photo, "_MOST_PIXELS", 2000)
    with pytest.raises(InputError, match="megapixels"):
        read_photo(photo, (3, 16, 16))
    monkeypatch.setattr(spnn.app.photo, "LARGEST_FILE", 1000)
    with pytest.raises(InputError, match="MB"):
        read_photo(photo, (3, 16, 16))


def test_a_space_is_written_once(tmp_path):
    folder = export_space("faces", tmp_path / "space")
    assert {path.name for path in folder.iterdir()} == {"app.py", "requirements.txt", "README.md"}
    assert 'serve("faces")' in (folder / "app.py").read_text() and "Path" not in (folder / "app.py").read_text()
    compile((folder / "app.py").read_text(), "app.py", "exec")
    assert (folder / "requirements.txt").read_text().startswith("spnn[app]>=")
    assert (folder / "README.md").read_text().startswith("---\n") and "sdk: gradio\n" in (
        folder / "README.md"
    ).read_text()
    with pytest.raises(InputError, match="there already"):
        export_space("faces", folder)
    with pytest.raises(InputError):
        export_space("no/such/run", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_a_run_of_ones_own_goes_into_its_space(run, tmp_path):
    folder = export_space(run.folder, tmp_path / "space")
    assert 'serve(Path(__file__).parent / "run")' in (folder / "app.py").read_text()
    compile((folder / "app.py").read_text(), "app.py", "exec")
    assert Editor(Session.load(folder / "run"), "run").controls


def test_the_command_names_mistakes(capsys, monkeypatch, tmp_path):
    for words in (["guidance=nlbp"], ["run="], ["--no-such"], ["--port", "x"]):
        with pytest.raises(SystemExit) as raised:
            spnn.commands.edit.main(words)
        assert raised.value.code == 2
    monkeypatch.setattr(spnn.commands.edit.importlib.util, "find_spec", lambda name: None)
    assert spnn.commands.edit.main([]) == 1
    assert "pip install 'spnn[app]'" in capsys.readouterr().err
    assert spnn.commands.edit.main([f"--export-space={tmp_path / 'space'}"]) == 0


def test_an_unknown_run_is_named(capsys):
    pytest.importorskip("gradio")
    assert spnn.commands.edit.main(["run=no/such/run"]) == 1
    assert "no/such/run" in capsys.readouterr().err


@pytest.fixture
def page(editor):
    pytest.importorskip("gradio")
    from spnn.app.page import Page

    return Page(editor)


def asked(page, work: Work, **values: float) -> list:
    """The inputs of a drawing: the options, and the controls' values."""
    keys = [control.key for control in page.editor.controls]
    return [10, 0, 450, False, "nlbp_bounded", "default", 1, *((work.values | values)[key] for key in keys)]


@pytest.mark.slow
def test_a_move_shows_the_preview_then_the_drawing(page):
    work, other = Work(), Work()
    page._open(work, "held-out", 3)
    page._open(other, "held-out", 4)
    first, second = page._redraw(work, *asked(page, work, digit_3=4.0), progress=lambda *_, **__: None)
    assert not np.array_equal(first[page.picture][1], second[page.picture][1])
    assert second[page.command]["value"] == work.drawing.command
    assert read_stamp(second[page.download]["value"])["set"] == {"digit_3": 4.0}
    assert other.drawing is None and other.subject.number == 4
    (shown,) = page._redraw(work, *asked(page, work, digit_3=4.0))  # it is drawn already
    assert page.picture not in shown and shown  # nothing at all would blank the page
    nothing = list(page._redraw(other, *asked(page, other)))
    assert len(nothing) == 1 and np.array_equal(*nothing[0][page.picture])


@pytest.mark.slow
def test_a_newer_move_ends_the_drawing_and_a_crash_is_said(page, monkeypatch, caplog):
    work = Work()
    page._open(work, "held-out", 3)
    moves = page._redraw(work, *asked(page, work, digit_3=4.0), progress=lambda *_, **__: None)
    next(moves)
    work.next_turn()
    assert not list(moves) and work.drawing is None
    monkeypatch.setattr(page.editor, "draw", lambda *_: 1 / 0)
    *_, last = page._redraw(work, *asked(page, work, digit_3=4.0))
    assert "Something went wrong" in last[page.status] and "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    *_, last = page._redraw(work, *asked(page, work, digit_3=4.0), progress=lambda *_, **__: None)
    assert last[page.status] == "Drawn."
    assert "whole number" in list(page._redraw(work, 0, *asked(page, work)[1:]))[-1][page.status]


@pytest.mark.slow
def test_a_photo_or_a_downloaded_png_is_opened(page, photo, tmp_path):
    work = Work()
    assert "can't be read" in page._open_photo(work, _broken(tmp_path))[page.notice] and work.subject is None
    page._open_photo(work, str(photo))
    assert work.subject.kind == "photo"
    *_, last = page._redraw(work, *asked(page, work, digit_3=4.0), progress=lambda *_, **__: None)
    fresh = Work()
    shown = page._open_photo(fresh, last[page.download]["value"])
    assert "restored" in shown[page.notice] and fresh.values["digit_3"] == 4.0
    assert torch.equal(fresh.subject.image, work.subject.image)
    notes = PngImagePlugin.PngInfo()
    notes.add_text("spnn", json.dumps({"run": "x"}))
    Image.new("RGB", (9, 9)).save(tmp_path / "other.png", pnginfo=notes)
    assert "taken for a photo" in page._open_photo(fresh, str(tmp_path / "other.png"))[page.notice]
    assert fresh.subject.name == "other.png"


def _broken(folder) -> str:
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    return str(folder / "broken.png")


@contextmanager
def served(folder: Path, *words: str) -> Iterator[str]:
    """The address where `spnn edit` serves a run, from a folder of its own."""
    pytest.importorskip("gradio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "spnn", "edit", *words, "--port", str(port)]
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(240):
            with suppress(OSError):
                urllib.request.urlopen(address).close()
                break
            assert server.poll() is None, (folder / "log").read_text()
            time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where faces are edited."""
    with served(tmp_path_factory.mktemp("served")) as address:
        yield address


class Browser:
    """A page in headless Chromium, which can reach no other machine."""

    def __init__(self, address: str, downloads: Path):
        webdriver = pytest.importorskip("selenium.webdriver")
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
        alone = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        for option in ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,1043", alone, *quiet):
            options.add_argument(option)
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        self.chains, self.keys, self.address = webdriver.ActionChains, webdriver.Keys, address

    def open(self) -> "Browser":
        self.driver.get(self.address)
        self.wait("#status", "Move a control")
        return self

    def find(self, selector: str):
        return self.driver.find_element("css selector", selector)

    def wait(self, selector: str, text: str, seconds: float = 60) -> None:
        """Until an element shows a text."""
        end, shown = time.monotonic() + seconds, ""
        while time.monotonic() < end:
            with suppress(Exception):  # it isn't there yet, or is just being replaced
                shown = self.find(selector).text
                if text in shown:
                    return
            time.sleep(0.1)
        raise AssertionError(f"{selector} shows {shown!r}, not {text!r}")

    def slider(self, name: str, kind: str = "range"):
        """An attribute's slider, or the field of its number, moved into view."""
        number = Session.load().models.readout.names.index(name)
        slider = self.find(f"#control-{number} input[type={kind}]")
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", slider)
        return slider

    def drag(self, name: str, share: float) -> None:
        """From the middle of a slider by a share of its width, and past its edge before the button is let go."""
        slider = self.slider(name)
        drag = self.chains(self.driver, duration=50).move_to_element(slider).click_and_hold()
        drag.move_by_offset(int(share * slider.size["width"]), 0).move_by_offset(0, 40).release().perform()

    def enter(self, name: str, value: float) -> None:
        """Type a number into a slider's field, and press Enter."""
        keys = self.keys
        self.slider(name, "number").send_keys(keys.CONTROL, "a", keys.NULL, str(value), keys.ENTER)

    def click_cell(self, row: int, column: int) -> None:
        """Of a map of 8 x 8."""
        image = self.find("#control-0 img")
        right, down = ((place - 3.5) * image.size["width"] / 8 for place in (column, row))
        self.chains(self.driver).move_to_element_with_offset(image, int(right), int(down)).click().perform()

    def pictures(self) -> list[str]:
        """The addresses of the pictures before and after."""
        return [image.get_attribute("src") for image in self.driver.find_elements("css selector", "#picture img")]

    def upload(self, path) -> None:
        with suppress(Exception):
            self.find("#photo button[aria-label='Clear']").click()
            time.sleep(0.5)
        self.find("#photo input[type=file]").send_keys(str(path))


@contextmanager
def opened(address: str, downloads: Path) -> Iterator[Browser]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no Chromium and its driver on this machine (Debian: apt install chromium chromium-driver)")
    browser = Browser(address, downloads)
    try:
        yield browser.open()
    finally:
        browser.driver.quit()


@pytest.fixture
def browser(address, tmp_path):
    with opened(address, tmp_path) as browser:
        yield browser


@pytest.mark.nightly
def test_a_slider_in_the_browser_moves_the_picture(browser, tmp_path):
    before = browser.pictures()
    browser.drag("Eyeglasses", 0.35)
    browser.wait("#status", "Drawn.")
    browser.wait("#changed", "Eyeglasses")
    browser.wait("#said", "sees")
    after = browser.pictures()
    assert len(before) == len(after) == 2 and before[0] == before[1] and after[1] not in before
    assert "edit.set={Eyeglasses: " in browser.find("#command textarea").get_attribute("value")

    # A newer move ends the drawing in flight, and what is drawn is the newer one's.
    browser.drag("Smiling", 0.3)
    browser.drag("Smiling", -0.3)
    smiling = browser.slider("Smiling").get_attribute("value")
    browser.wait("#changed", f"Smiling {float(smiling):+.3g}")
    browser.wait("#status", "Drawn.")
    assert f"Smiling: {float(smiling)}" in browser.find("#command textarea").get_attribute("value")

    browser.enter("Young", -2.5)
    browser.wait("#changed", "Young -2.5")
    browser.wait("#status", "Drawn.")
    browser.find("#undo").click()
    browser.wait("#status", "Drawn.")

    # Another tab is another session.
    first = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    browser.open()
    assert "nothing" in browser.find("#changed").text
    browser.driver.switch_to.window(first)
    browser.find("#undo").click()
    browser.wait("#changed", "Eyeglasses")
    browser.find("#reset").click()
    browser.wait("#changed", "nothing")
    if severe := [line for line in browser.driver.get_log("browser") if line["level"] == "SEVERE"]:
        raise AssertionError(severe)


@pytest.mark.nightly
def test_files_in_the_browser_are_opened_or_refused(browser, photo, tmp_path):
    next(x for x in browser.driver.find_elements("css selector", "#kind label") if x.text == "photo").click()
    browser.wait("#photo", "photo")
    before = browser.pictures()
    browser.upload(photo)
    browser.wait("#status", "Move a control")
    time.sleep(3)
    assert browser.pictures()[0] not in before
    Image.new("L", (10_000, 10_000)).save(tmp_path / "huge.png")
    for path, message in ((_broken(tmp_path), "can't be read"), (tmp_path / "huge.png", "100 megapixels")):
        browser.upload(path)
        browser.wait("#notice", message)
    browser.drag("Smiling", 0.35)
    browser.wait("#status", "Drawn.")
    value = browser.slider("Smiling").get_attribute("value")
    browser.find("#download").click()
    for _ in range(100):
        if not (tmp_path / "edited.png").exists():
            time.sleep(0.1)
    assert read_stamp(tmp_path / "edited.png")["set"] == {"Smiling": float(value)}
    browser.find("#reset").click()
    browser.wait("#changed", "nothing")
    browser.upload(tmp_path / "edited.png")
    browser.wait("#notice", "restored")
    browser.wait("#changed", "Smiling")
    browser.wait("#status", "Drawn.")
    assert browser.slider("Smiling").get_attribute("value") == value


@pytest.mark.nightly
def test_cells_are_painted_and_boxes_added_in_the_browser(whole, tmp_path):
    with served(tmp_path, f"run={whole.run}") as address, opened(address, tmp_path) as browser:
        before = browser.pictures()
        if whole.controls[0].key == "map":
            own = whole.own_values(whole.held_out(0))["map"]
            name = next(name for name in whole.readout.choices if name not in (own[19], own[37], own[38]))
            radio = "#control-0-classes label"
            next(x for x in browser.driver.find_elements("css selector", radio) if x.text == name).click()
            browser.click_cell(2, 3)
            browser.wait("#changed", f"{name} [2,3]")
            browser.find("#control-0-rectangle input").click()
            for cell in ((4, 6), (4, 5)):  # any two corners
                browser.click_cell(*cell)
                time.sleep(2)
            setting = f'{name}: "[2,3] and [4,5:7]"'
        else:
            browser.find("#control-0-add").click()
            setting = 'add: "ellipse 0.50 0.50 0.25 0.25"'
        browser.wait("#changed", setting.split('"')[1])
        browser.wait("#status", "Drawn.")
        assert browser.pictures()[1] not in before
        assert f"edit.set={{{setting}}}" in browser.find("#command textarea").get_attribute("value")
        if whole.controls[0].key != "map":
            cells = browser.driver.find_elements("css selector", "#control-0 [role=gridcell]")
            next(cell for cell in cells if cell.text == "ellipse").click()
            time.sleep(1)
            browser.find("#control-0-remove").click()
            browser.wait("#changed", "nothing")
            browser.find("#undo").click()
            browser.wait("#changed", "ellipse")
        browser.find("#reset").click()
        browser.wait("#changed", "nothing")
        browser.wait("#status", "Move a control")
        assert not [line for line in browser.driver.get_log("browser") if line["level"] == "SEVERE"]
