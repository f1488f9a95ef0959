"""Tables on the terminal."""

from spnn.terminal import print_rows


def test_a_table_that_is_too_wide_is_turned(capsys):
    titles = ["method", *(f"a figure of number {i}" for i in range(12))]
    print_rows(titles, [["[first]", *"abcdefghijkl"], ["second", *"mnopqrstuvwx"]])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["method", "[first]", "second"] in lines and ["a", "figure", "of", "number", "11", "l", "x"] in lines
    print_rows(titles[:3], [["[first]", "a", "b"]])
    assert ["[first]", "a", "b"] in [line.split() for line in capsys.readouterr().out.splitlines()]
