"""The arena, with options that were chosen by equally many tries for each method on validation images.

    python -m benchmarks.arena run=outputs/mine tries=6 each=1                    # edits; an hour or so on two cores
    python -m benchmarks.arena run=outputs/mine study=restoration tries=6 few=4   # degradations; hours

Optuna (``pip install 'spnn[optuna]'``) searches each method's options on the validation split. It maximises the share
of edits that take in whole pictures, ``whole_success`` of ``study=arena``; or, for each degradation, the PSNR of
``few`` images in ``study=restoration``. Then all methods see the test images once, with the chosen options. Both parts
can be interrupted and continued. Further words are passed to ``evaluate.py``.
"""

import hashlib
import json
import shlex
import subprocess
import sys
from pathlib import Path

import optuna

EDITS = {
    "nlbp_bounded": {"bound": "tag(log,interval(0.03,0.15))"},
    "nlbp_gentle": {"bound": "tag(log,interval(0.03,0.5))"},
    "fibre": {"bound": "tag(log,interval(0.03,0.5))", "noisiest": "tag(log,int(interval(20,150)))"},
    "gradient": {"rate": "tag(log,interval(0.1,100))"},
    "dps": {"rate": "tag(log,interval(0.03,10))"},
    "freedom": {"rate": "tag(log,interval(0.03,10))"},
    "mpgd": {"rate": "tag(log,interval(0.1,100))"},
    "ugd": {"rate": "tag(log,interval(0.1,30))", "mean_rate": "tag(log,interval(0.1,30))"},
    "tfg": {"rate": "tag(log,interval(0.03,10))", "mean_rate": "tag(log,interval(0.03,10))"},
    "pigdm": {"bound": "tag(log,interval(0.03,0.5))", "deviation": "tag(log,interval(0.1,1))"},
    "red_diff": {"rate": "tag(log,interval(0.01,0.3))", "weight": "tag(log,interval(0.03,1))"},
    "daps": {"noise": "tag(log,interval(0.03,3))"},
    "resample": {"rate": "tag(log,interval(0.1,100))"},
}
"""The options to search for each method; methods without options aren't listed."""

DEGRADATIONS = {
    "dps": {"rate": "tag(log,interval(0.1,10))"},
    "mpgd": {"rate": "tag(log,interval(0.1,30))"},
    "tfg": {"rate": "tag(log,interval(0.1,10))", "mean_rate": "tag(log,interval(0.1,10))"},
    "pigdm": {"deviation": "tag(log,interval(0.1,1))"},
    "red_diff": {"rate": "tag(log,interval(0.03,0.3))", "weight": "tag(log,interval(0.03,1))"},
    "daps": {"noise": "tag(log,interval(0.01,0.3))"},
    "resample": {"rate": "tag(log,interval(0.1,30))"},
}
"""The same for degradations."""

PROBLEMS = "inpainting,super_resolution,deblurring,colorization,nonlinear_blur,high_dynamic_range,jpeg,phase_retrieval"

OWN = {"run": None, "study": "arena", "tries": "6", "each": "1", "few": "4", "budget": "50", "only": PROBLEMS}
"""Our own options, and their defaults."""


def main(words: list[str]) -> None:
    options = OWN | {key: value for key, _, value in (word.partition("=") for word in words) if key in OWN}
    rest = [word for word in words if word.partition("=")[0] not in OWN]
    try:
        tries, each, few, budget = (int(options[name]) for name in ("tries", "each", "few", "budget"))
        weights = Path(options["run"], "run.json").read_bytes()
    except (OSError, TypeError, ValueError) as error:
        needs = "say run=<folder> of a trained run; tries, each, few and budget are whole numbers."
        raise SystemExit(f"{error}: {needs}") from None
    common = [f"study={options['study']}", f"run={options['run']}", *rest]
    once = [f"study.budgets=[{budget}]", "split=val", "report=null", "logger=null"]
    if options["study"] == "arena":
        common.append(f"study.each={each}")
        chosen = searched([*common, *once], EDITS, "whole_success", tries, options["run"], weights)
        found = [f"methods.{method}.{name}={value}" for method, own in chosen.items() for name, value in own.items()]
        evaluate(*common, f"study.budgets=[{budget},{2 * budget}]", *found)
        return
    found, only = {}, options["only"].strip("[]").split(",")
    for problem in only:
        words = [*common, *once, f"study.only=[{problem}]", f"count={few}"]
        found[problem] = searched(words, DEGRADATIONS, "psnr", tries, options["run"], weights)
    told = json.dumps(found).replace('"', "")
    evaluate(
        *common, f"study.budgets=[{budget},{2 * budget}]", f"study.only=[{','.join(only)}]", f"study.options={told}"
    )


def searched(
    words: list[str], spaces: dict, objective: str, tries: int, run: str, weights: bytes
) -> dict[str, dict[str, str]]:
    """The options of each method that are best by a figure: method to option to value."""
    key = hashlib.sha256(" ".join(words).encode() + weights).hexdigest()[:8]  # different questions have their own tries
    chosen = {}
    for method, space in spaces.items():
        folder = Path(run, "tuning", f"{method}_{key}")
        swept = [f"methods.{method}.{option}={values}" for option, values in space.items()]
        sweep = ["hydra/sweeper=optuna", f"hydra.sweeper.n_trials={tries}", f"hydra.sweeper.objective={objective}"]
        evaluate("-m", *words, f"study.methods=[{method}]", *swept, *sweep, f"hydra.sweep.dir={folder}")
        study = optuna.load_study(study_name="search", storage=f"sqlite:///{folder.resolve()}/optuna_search.db")
        best = {name.rpartition(".")[2]: f"{value:.3g}" for name, value in study.best_params.items()}
        chosen[method] = best
    return chosen


def evaluate(*words: str) -> None:
    """Print the command and run ``evaluate.py``."""
    print("\npython evaluate.py", shlex.join(words))
    if status := subprocess.run([sys.executable, "evaluate.py", *words], check=False).returncode:
        raise SystemExit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
