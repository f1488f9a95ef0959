"""The arena, with options that each method's equally many tries on validation images have chosen.

    python -m benchmarks.arena run=outputs/mine tries=6 each=1          # an hour or so on two cores

Optuna (``pip install 'spnn[optuna]'``) searches each method's options for the most edits that take in whole pictures,
``whole_success`` of ``study=arena`` on the validation split. Then the test images are seen once, by all methods with
what was chosen. Either part goes on where it was interrupted. Further words go to ``evaluate.py``.
"""

import hashlib
import shlex
import subprocess
import sys
from pathlib import Path

import optuna

SPACES = {
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
"""What is searched of each method; the others have no options."""


OWN = {"run": None, "tries": 6, "each": 1, "budget": 50}
"""Our own words, and what they are if nothing is said."""


def main(words: list[str]) -> None:
    options = OWN | {key: value for key, _, value in (word.partition("=") for word in words) if key in OWN}
    rest = [word for word in words if word.partition("=")[0] not in OWN]
    try:
        tries, each, budget = (int(options[name]) for name in ("tries", "each", "budget"))
        weights = Path(options["run"], "metrics.json").read_bytes()
    except (OSError, TypeError, ValueError) as error:
        needs = "say run=<folder> of a trained run; tries, each and budget are whole numbers."
        raise SystemExit(f"{error}: {needs}") from None
    common = ["study=arena", f"run={options['run']}", f"study.each={each}", *rest]
    once = [f"study.budgets=[{budget}]", "split=val", "report=null", "logger=null"]
    key = hashlib.sha256(" ".join([*common, *once]).encode() + weights).hexdigest()[:8]  # another question, other tries
    chosen = []
    for method, space in SPACES.items():
        folder = Path(options["run"], "tuning", f"{method}_{key}")
        searched = [f"methods.{method}.{option}={values}" for option, values in space.items()]
        sweep = ["hydra/sweeper=optuna", f"hydra.sweeper.n_trials={tries}", "hydra.sweeper.objective=whole_success"]
        evaluate("-m", *common, *once, f"study.methods=[{method}]", *searched, *sweep, f"hydra.sweep.dir={folder}")
        study = optuna.load_study(study_name="search", storage=f"sqlite:///{folder.resolve()}/optuna_search.db")
        chosen += [f"{option}={value:.3g}" for option, value in study.best_params.items()]
    evaluate(*common, f"study.budgets=[{budget},{2 * budget}]", *chosen)


def evaluate(*words: str) -> None:
    """Run ``evaluate.py``, and show the command."""
    print("\npython evaluate.py", shlex.join(words))
    if status := subprocess.run([sys.executable, "evaluate.py", *words], check=False).returncode:
        raise SystemExit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
