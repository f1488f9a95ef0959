"""`python -m spnn.runs`: list runs, find the best, show one, compare two, pack one to share it."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from spnn.errors import InputError
from spnn.menu import program
from spnn.runs.listing import Listed, best_first, compare, find_runs
from spnn.runs.run import Run
from spnn.terminal import print_rows

_COLUMNS = ("task/accuracy", "inverse/reconstruction", "prior/loss", "judge/accuracy")

EXAMPLES = """
examples:
  python -m spnn.runs                                       all runs in outputs/, the newest first
  python -m spnn.runs list status=failed                    those that failed, and why
  python -m spnn.runs list name=digits network.scale_bound=2 'task/accuracy>=0.98'
  python -m spnn.runs list --columns seed,task/loss
  python -m spnn.runs best task/loss --least name=digits    the best first
  python sample.py run=$(python -m spnn.runs best prior/loss --least --path)
  python -m spnn.runs show outputs/digits/seed-1            how it was started, where, how it stands
  python -m spnn.runs compare outputs/digits/seed-1 outputs/digits/seed-2
  python -m spnn.runs pack outputs/digits/seed-1 my-digits  its models in half precision, with a card
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(words)
    try:
        if options.command == "compare":
            _print_comparison(*map(Listed, options.runs))
        elif options.command == "show":
            _print_run(Listed(options.run))
        elif options.command == "pack":
            from spnn.runs.pack import pack  # here, because it needs PyTorch and lists don't

            print(f"packed: {pack(Run(options.run), options.folder)}")
        else:
            _print_list(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    program = "spnn runs" if Path(sys.argv[0]).stem == "spnn" else "python -m spnn.runs"
    parser = argparse.ArgumentParser(
        program,
        description="List runs, find the best, show one, compare two, pack one to share it.",
        epilog=EXAMPLES.replace("python -m spnn.runs", program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="command")
    listing = commands.add_parser("list", help="a table of runs, the newest first")
    best = commands.add_parser("best", help="a table of runs, the best by a metric first")
    best.add_argument("metric", help="e.g. task/accuracy, or evaluation/nlbp_gentle/judge_agreement")
    best.add_argument("--least", action="store_true", help="less of it is better")
    best.add_argument("--path", action="store_true", help="print the best run's folder alone")
    for command in (listing, best):
        command.add_argument("conditions", nargs="*", help="name=value, with =, !=, <, <=, >, >=; * matches anything")
        command.add_argument("--columns", help="names of options or metrics, separated by commas")
        command.add_argument("--in", dest="root", default="outputs", help="the folder to search (outputs)")
    commands.add_parser("show", help="how a run was started, where, and how it stands").add_argument("run")
    commands.add_parser("compare", help="options that differ, and metrics").add_argument("runs", nargs=2)
    packing = commands.add_parser("pack", help="copy a run's models, in half precision, with a card of its figures")
    packing.add_argument("run")
    packing.add_argument("folder", help="where to; its last part is the packed run's name")
    parser.set_defaults(command="list", conditions=[], columns=None, root="outputs")
    return parser


def _print_list(options: argparse.Namespace) -> None:
    runs, sorted_by = find_runs(options.root, options.conditions), []
    if options.command == "best":
        runs = best_first(runs, f"-{options.metric}" if options.least else options.metric)
        sorted_by = [options.metric]
    if not runs:
        raise InputError(f"no such runs in {options.root}/; `{program('train')}` makes one.")
    if options.command == "best" and options.path:
        print(runs[0].folder)
        return
    columns = options.columns.split(",") if options.columns else list(dict.fromkeys([*sorted_by, *_COLUMNS]))
    rows = []
    for run in runs:
        record, minutes = run.record, run.seconds / 60
        name = f"{run.folder}\n{record['reason']}" if record.get("reason") else str(run.folder)
        status = record["status"] + (f" ({record['stage']})" if record.get("stage") else "")
        cells = [_cell(run.values.get(column)) for column in columns]
        rows.append([name, status, f"{run.began:%Y-%m-%d %H:%M}", f"{minutes:.1f}" if minutes else "", *cells])
    print_rows(["run", "status", "began", "minutes", *columns], rows)


def _print_run(run: Listed) -> None:
    record = run.record
    print(f"{run.folder}: {record['status']}" + (f", {record['reason']}" if record.get("reason") else ""))
    for number, start in enumerate(record["starts"], 1):
        git, environment = start["git"], start["environment"]
        print(f"\nstart {number}: {start['began']} to {start['ended'] or '(no end on record)'}")
        print(f"  command      {start['command']}")
        if git:
            print(
                f"  commit       {git['commit']} on {git['branch']}" + (f", {git['changes']}" if git["changes"] else "")
            )
        print(
            f"  machine      {environment['host'] or '(no name)'}, {environment['cores']} cores, "
            f"{', '.join(environment['devices']) or 'no GPU'}"
        )
        packages = "  ".join(f"{name} {version}" for name, version in environment["packages"].items())
        print(f"  python       {environment['python']}  {packages}")
    print()
    for name, value in run.means.items():
        print(f"  {name:<28} {value:.4g}")


def _print_comparison(first: Listed, second: Listed) -> None:
    options, metrics = compare(first, second)
    for title, rows in (("option", options), ("metric", metrics)):
        if rows:
            cells = [[name, *map(_cell, values)] for name, values in rows.items()]
            print_rows([title, str(first.folder), str(second.folder)], cells)
        else:
            print(f"no {title} differs" if title == "option" else "no metrics yet")


def _cell(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    raise SystemExit(main())
