"""The arena, with options that each method's equally many tries on validation images have chosen.

    python -m benchmarks.arena run=outputs/mine tries=6 each=1          # an hour or so on two cores

Optuna (``pip install 'spnn[optuna]'``) searches each method's options for the most edits that take in whole pictures,
``whole_success`` of ``study=arena`` on the validation split. Then the test images are seen once, by all methods with
what was chosen. Either part goes on where it was interrupted. Further words go to ``evaluate.py``.
"""

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


def main(words: list[str]) -> None:
    options = dict(word.split("=", 1) for word in words if word.partition("=")[0] in ("run", "tries", "each", "budget"))
    tries, each, budget = (int(options.get(name, usual)) for name, usual in (("tries", 6), ("each", 1), ("budget", 50)))
    rest = [word for word in words if word.partition("=")[0] not in ("tries", "each", "budget")]
    common, top = ["study=arena", f"study.each={each}", *rest], Path(options["run"], "tuning")
    chosen = []
    for method, space in SPACES.items():
        folder = top / method
        searched = [f"methods.{method}.{option}={values}" for option, values in space.items()]
        once = [f"study.methods=[{method}]", f"study.budgets=[{budget}]", "split=val", "report=null", "logger=null"]
        sweep = ["hydra/sweeper=optuna", f"hydra.sweeper.n_trials={tries}", "hydra.sweeper.objective=whole_success"]
        where = [f"hydra.sweep.dir={folder}", f"folder='{folder}/${{hydra.job.num}}'"]
        evaluate("-m", *common, *once, *searched, *sweep, *where)
        study = optuna.load_study(study_name="search", storage=f"sqlite:///{folder.resolve()}/optuna_search.db")
        chosen += [f"{option}={value:.3g}" for option, value in study.best_params.items()]
    evaluate(*common, f"study.budgets=[{budget},{2 * budget}]", *chosen)


def evaluate(*words: str) -> None:
    """Run ``evaluate.py``, and show the command."""
    print("\npython evaluate.py", " ".join(f"'{word}'" if set(word) & set(" (){}[]$") else word for word in words))
    subprocess.run([sys.executable, "evaluate.py", *words], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
