"""A sweep's account of its runs, as ``recbole-nif report`` reads it."""

import pytest

from recbole_nif.publish.inputs import read_inputs
from recbole_nif.sweep.ledger import FOLDER, Ledger, RunFailed
from recbole_nif.sweep.outcome import write_account
from tests.unit.run_doubles import make_record, write_run
from tests.unit.test_sweep_plan import read  # noqa: F401 - a fixture

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def test_every_run_is_told_of_before_and_after_it_was_done(read):  # noqa: F811
    sweep = read(
        models=[
            {"LR": {"grid": {"embedding_size": [4, 8]}}},
            {"FM": {"search": {"learning_rate": {"low": 1e-4, "high": 1e-2}}}},
            {"Later": {"optional": True}},
        ],
        seeds=[1],
        settings={"epochs": 2},
        budget={"trials": 3},
    )
    sweep.folder.mkdir(parents=True)
    ledger = Ledger(sweep, str(sweep.folder / "journal.log"))
    write_account(sweep, ledger)
    runs, absent = read_inputs([sweep.folder])
    assert runs == [] and [(run.name, run.why) for run in absent] == [
        ("LR embedding_size=4 epochs=2, seed 1", "not begun"),
        ("LR embedding_size=8 epochs=2, seed 1", "not begun"),
        ("FM epochs=2 search=learning_rate, seed 1", "3 runs not begun"),
        ("Later", "not implemented"),
    ]

    def works(trial, values):
        run = sweep.parts[0].run(values)
        trial.set_user_attr(FOLDER, run.key)
        write_run(
            sweep.folder / run.key, make_record("LR", seed=1, settings={"embedding_size": 4, "epochs": 2})
        )
        return 0.5

    def fails(trial, values):
        trial.set_user_attr(FOLDER, sweep.parts[0].run(values).key)
        raise RunFailed("MemoryError: too large")

    assert ledger.take(sweep.parts[0], works) and ledger.take(sweep.parts[0], fails)
    write_account(sweep, ledger)
    runs, absent = read_inputs([sweep.folder])
    assert len(runs) == 1 and len(absent) == 3
    assert [run.why for run in absent if run.model == "LR"] == ["failed: MemoryError: too large"]
