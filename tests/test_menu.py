"""What `--help` says of the choices that there are."""

import re
import subprocess
import sys

import pytest
from commands import configuration, succeed

from spnn.menu import groups, menu, own_options, sentence
from spnn.search_path import CONFIGS

FILES = sorted(CONFIGS.rglob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_option_says_in_a_sentence_what_it_is(path):
    assert len(sentence(path)) > 10


@pytest.mark.parametrize("script", ["train", "sample", "evaluate"])
def test_help_shows_the_groups_of_the_script_with_their_options(script):
    printed = succeed(f"{script}.py", "--help")
    assert one_line(menu(script)) in one_line(printed) and "Examples:" in printed  # terminals' widths differ
    for group in groups(script):
        assert all(place.sentence for place in group.places), f"{group.name}: say what it is in a comment"
        assert group.options
    assert all(comment for _, _, comment in own_options(script))
    assert len(printed.splitlines()) < 200 and "_target_" not in printed  # in narrow columns


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["evaluate", "--help"], ["runs", "list"]])
def test_what_computes_nothing_starts_without_pytorch(words, tmp_path):
    code = f"""
import sys
from spnn.__main__ import main
sys.argv = ["spnn", *{words}]
try:
    main()
finally:
    print("loaded:", [name for name in ("torch", "lightning") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "loaded: []" in done.stdout, done.stderr


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_defaults_are_marked_and_groups_of_other_scripts_are_absent():
    assert "  * synthetic_faces  Rendered faces" in menu("train") and "    digits           The 1,797" in menu("train")
    assert "    seed=0 " in menu("train") and "\nguidance" not in menu("train")
    assert "  * reconstruct " in menu("sample") and "\nguidance/schedule: " in menu("sample")
    assert "\nguidance@methods.<name>: " in menu("evaluate") and "\ndata: " not in menu("evaluate")


@pytest.mark.parametrize("script, needed", [("train", "seed=0"), ("sample", "run=x"), ("evaluate", "run=x")])
def test_the_words_of_the_menu_choose(script, needed):
    for group in groups(script):
        for place in group.places:
            configuration(script, f"{place.word.replace('<name>', 'nlbp')}={group.options[0].stem}", needed)


def test_the_whole_config_can_be_shown():
    assert "reconstruction_weight: 40" in succeed("train.py", "--cfg", "job")


def test_lines_fit_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = menu("train").splitlines()
    assert max(map(len, lines)) <= 100
    assert re.search(r"^ {20,}\S", menu("train"), re.MULTILINE)  # what is wrapped stays in its column
