"""A run that is killed or stopped at any moment goes on to the same numbers and loses nothing."""

import json
import multiprocessing
import os
import random
import resource
import signal
import tempfile
from functools import wraps

import pytest
import torch
import yaml
from filelock import FileLock

from recbole_nif import cli, run_folder
from recbole_nif.errors import UserError
from recbole_nif.quick_start import run_recbole_nif
from recbole_nif.trainer import checkpoint
from tests.toy import toy_config, write_toy
from tests.unit.test_trainer import random_rows

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    [
        "recbole_nif.quick_start",
        "recbole_nif.model.amen",
        "recbole_nif.model.din",
        "recbole_nif.model.genci",
        "transformers.models.t5.modeling_t5",
    ]
)
MODELS = {
    "AMEN": {"pretrain_epochs": 3, "pretrain_batch_size": 32, "epochs": 3, "train_batch_size": 48},
    "GenCI": {
        "text_encoder": "features",
        "quantizer": "kmeans",
        "sr_teacher": "pretrained",
        "teacher_epochs": 2,
        "epochs": 3,
        "hidden_dropout_prob": 0.1,
        "train_batch_size": 48,
    },
    "NIFDIN": {"epochs": 8, "dropout_prob": 0.3, "train_batch_size": 48, "ema_decay": 0.9},
}


@pytest.fixture
def config_file(tmp_path, request):
    """The settings of a small run with dropout, so that random numbers matter."""
    model, overrides = request.param
    write_toy(tmp_path, random_rows(users=12))
    settings = toy_config(tmp_path, model).resolved() | {"stopping_step": 1, **overrides}
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def run(*arguments, act_at=1, act=None):
    """The command line in a process of its own; at its ``act_at``-th moment it calls ``act``.

    Returns:
        the exit code and the last line on the screen that is not the log's.
    """
    with tempfile.NamedTemporaryFile("r") as screen:
        process = context.Process(target=_child, args=(arguments, act_at, act, screen.name))
        process.start()
        process.join(240)
        assert process.exitcode is not None, "the run hangs"
        return process.exitcode, screen.read().strip().rpartition("\n")[2]


def _child(arguments, act_at, act, screen):
    with open(screen, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    torch.set_num_threads(1)
    if act is not None:
        _count_moments(act_at, act)
    raise SystemExit(cli.main(list(arguments)))


def _count_moments(act_at, act):
    """Before and after every step, around every write of a checkpoint and in every validation."""
    from recbole_nif.trainer.engine import Engine
    from recbole_nif.trainer.finetune import FinetuneStage
    from recbole_nif.trainer.pretrain import GeneratorPretrainStage

    moments = iter(range(1, 10**6))

    def moment():
        if next(moments) == act_at:
            act()

    def watched(function, before=True):
        @wraps(function)
        def wrapper(*args, **kwargs):
            if before:
                moment()
            result = function(*args, **kwargs)
            moment()
            return result

        return wrapper

    Engine.step = watched(Engine.step)
    checkpoint.torch.save = watched(torch.save)  # half a file: written, but not yet renamed
    checkpoint.os.replace = watched(os.replace, before=False)
    FinetuneStage.evaluate = watched(FinetuneStage.evaluate)
    GeneratorPretrainStage.evaluate = watched(GeneratorPretrainStage.evaluate)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def fill_the_disk():
    """From now on no file can grow past 100 kB."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def truncated(file, _):
    file.write_bytes(file.read_bytes()[:-1000])
    return "is not a checkpoint of recbole_nif"


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def malicious(file, executed):
    torch.save({**checkpoint.load(file), "extra": Touch(executed)}, file)
    return "is not a checkpoint of recbole_nif"


def of_another_model(file, _):
    checkpoint.save(file, checkpoint.load(file) | {"model": "DeepFM"})
    return "holds model 'DeepFM', not 'NIFDIN'"


def of_best_weights(file, _):
    file.write_bytes(file.with_name("finetune-best.pt").read_bytes())
    return "holds no state of a stage to go on from"


def outcome(folder):
    """What must not depend on interruptions: all metrics and losses of all epochs, and the best weights."""
    record = json.loads((folder / "result.json").read_text())
    compared = ("curve", "best_epoch", "valid", "facts")
    stages = [{key: stage[key] for key in compared} for stage in record["stages"]]
    files = folder.glob("checkpoints/*-best.pt")
    return record["test"], stages, {path.name: checkpoint.load(path)["state_dict"] for path in files}


def assert_same(one, other):
    assert one[0] == other[0]
    assert one[1] == other[1]
    assert one[2].keys() == other[2].keys()
    for name, state in one[2].items():
        assert all(torch.equal(value, other[2][name][key]) for key, value in state.items())


def run_through_deaths(config_file, folder, seed, longest, *options):
    """Kills the run again and again at random moments until it is complete; how often it died."""
    rng, deaths = random.Random(seed), 0
    while True:
        start = [f"--config_files={config_file}", f"--run_dir={folder}"]
        if (folder / "config.yaml").is_file():
            start = [f"--resume={folder}"]
        code, _ = run(*start, *options, act_at=rng.randint(1, longest), act=kill)
        if code == 0:
            return deaths
        assert code == -signal.SIGKILL
        deaths += 1
        assert deaths < 60, "the run makes no progress"


@pytest.mark.parametrize("config_file", MODELS.items(), indirect=True, ids=MODELS)
@pytest.mark.parametrize(("longest", "options"), [(50, []), (16, ["--save_step=2"])])
def test_a_run_killed_at_random_moments_ends_with_the_numbers_of_one_that_was_not(
    config_file, tmp_path, longest, options
):
    assert run(f"--config_files={config_file}", f"--run_dir={tmp_path / 'whole'}")[0] == 0
    deaths = run_through_deaths(config_file, tmp_path / "killed", longest, longest, *options)
    assert deaths >= 5
    assert_same(outcome(tmp_path / "whole"), outcome(tmp_path / "killed"))
    record = json.loads((tmp_path / "killed" / "result.json").read_text())
    assert sum(len(stage["resumed"]) for stage in record["stages"]) >= 1


SMALL = ("NIFDIN", {"epochs": 3, "dropout_prob": 0.3, "train_batch_size": 48})


@pytest.mark.parametrize("config_file", [SMALL], indirect=True, ids=["NIFDIN"])
class TestARunThatStops:
    @pytest.fixture
    def folder(self, tmp_path):
        return tmp_path / "run"

    @pytest.fixture
    def start(self, config_file, folder):
        return [f"--config_files={config_file}", f"--run_dir={folder}"]

    # the first moment writes config.yaml; an epoch has 2 in each of 8 steps, 2 in validation, 3 in each save
    @pytest.mark.parametrize(("act_at", "act", "place"), [(5, interrupt, (0, 2)), (18, terminate, (1, 0))])
    def test_by_a_signal_saves_at_once_and_says_how_to_go_on(
        self, config_file, tmp_path, folder, start, act_at, act, place
    ):
        code, said = run(*start, act_at=act_at, act=act)
        assert code == 130
        assert said == f"The run was interrupted; go on with: recbole-nif --resume={folder}"
        state = checkpoint.load(folder / "checkpoints" / "finetune-last.pt")
        assert (state["epoch"], state["step"]) == place
        assert run(f"--resume={folder}")[0] == 0
        assert run(f"--config_files={config_file}", f"--run_dir={tmp_path / 'whole'}")[0] == 0
        assert_same(outcome(tmp_path / "whole"), outcome(folder))

    def test_on_a_full_disk_keeps_its_checkpoints_and_goes_on_later(self, folder, start):
        code, said = run(*start, act_at=30, act=fill_the_disk)  # in the second epoch
        assert (code, said[:19]) == (2, "error: Cannot write")
        assert "finetune-" in said and "free space" in said and "--resume" in said
        assert {path.suffix for path in (folder / "checkpoints").iterdir()} == {".pt"}
        assert checkpoint.load(folder / "checkpoints" / "finetune-last.pt")["epoch"] == 1
        assert run(f"--resume={folder}")[0] == 0

    def test_after_its_result_shows_it_again_when_resumed(self, folder, start):
        code, first = run(*start)
        before = (folder / "result.json").read_bytes()
        assert (code, first) == (0, str(folder / "result.json"))
        assert run(f"--resume={folder}") == (0, first)
        assert (folder / "result.json").read_bytes() == before

    def test_is_not_resumed_while_another_process_trains_it(self, folder, start, monkeypatch):
        run(*start, act_at=30, act=kill)
        monkeypatch.setattr(run_folder, "PATIENCE", 0.1)
        with FileLock(folder / run_folder.LOCK):  # as a training process holds it
            with pytest.raises(UserError, match=r"Another process trains in .*run: wait for its result, or"):
                run_recbole_nif(config_dict={"resume": str(folder)})
            assert not (folder / "result.json").exists()
        assert run(f"--resume={folder}")[0] == 0
        assert not (folder / run_folder.LOCK).exists()

    def test_before_its_configuration_was_written_cannot_be_resumed(self, folder, start):
        folder.mkdir()
        code, said = run(f"--resume={folder}")
        assert code == 2 and said.endswith("it holds no config.yaml, so start the run anew.")

    def test_is_resumed_with_its_own_configuration_only(self, folder, start):
        run(*start, act_at=30, act=kill)
        code, said = run(f"--resume={folder}", "--learning_rate=0.5")
        assert code == 2
        assert said.startswith("error: learning_rate in the command line is not what")
        settings = (folder / "config.yaml").read_text()
        (folder / "config.yaml").write_text(settings.replace("dropout_prob: 0.3", "dropout_prob: 0.2"))
        code, said = run(f"--resume={folder}")
        assert code == 2 and "finetune-last.pt was written with other values of dropout_prob" in said
        (folder / "config.yaml").write_text(settings)
        assert run(f"--resume={folder}", "--log_every=1", "--model=NIFDIN")[0] == 0

    def test_is_resumed_on_its_own_data_only(self, tmp_path, folder, start):
        run(*start, act_at=30, act=kill)
        file = tmp_path / "toy" / "toy.inter"
        lines = file.read_text().splitlines()
        user, item, rating, time = lines[5].split("\t")
        lines[5] = "\t".join([user, item, "1" if int(rating) >= 4 else "5", time])
        file.write_text("\n".join(lines) + "\n")
        code, said = run(f"--resume={folder}")
        assert code == 2 and "was written with other data than the files of toy hold now" in said

    @pytest.mark.parametrize("damage", [truncated, malicious, of_another_model, of_best_weights])
    def test_is_not_resumed_from_a_damaged_checkpoint(self, tmp_path, folder, start, damage):
        run(*start, act_at=30, act=kill)
        file = folder / "checkpoints" / "finetune-last.pt"
        told = damage(file, tmp_path / "executed")
        code, said = run(f"--resume={folder}")
        assert code == 2 and f"{file} {told}" in said
        assert not (tmp_path / "executed").exists()
