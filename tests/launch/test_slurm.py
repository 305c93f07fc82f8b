"""Runs as jobs of a real SLURM of one node, started for these tests; they are skipped where none is installed."""

import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from lls.config.assemble import CONFIGS
from lls.config.compose import compose
from lls.data.streaming import StreamedTest
from lls.errors import UserError
from lls.launch.queue import log_path
from lls.launch.start import train_missing
from lls.runs.run import Run, teacher_run
from lls.training import checkpoint, loop

submitit = pytest.importorskip("submitit")
from lls.launch import slurm  # noqa: E402 - after the line above

ROOT = Path(__file__).resolve().parent.parent
NODE = ROOT / "tests" / "slurm" / "start.sh"
SHORT = ["train.epochs=6", "train.milestones=[]"]
SETTINGS = ["gpus_per_node=null", "cpus_per_task=1", "mem_gb=null", "timeout_min=10", "signal_delay_s=110"]
SETTINGS = [f"hydra.launcher.{setting}" for setting in SETTINGS]


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A SLURM, in the environment of this process."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    if not all(shutil.which(daemon, path=path) for daemon in ("slurmctld", "slurmd", "munged", "srun")):
        pytest.skip("SLURM is not installed (apt-get install slurm-wlm munge)")
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([NODE, folder], check=True, timeout=60)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        patched.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        patched.setattr(slurm, "LOOK_AGAIN", 0.5)
        patched.setattr(slurm, "ACCOUNTING_TIMEOUT_SECONDS", 3)
        yield
        slurm_says("scancel", "--user", str(os.getuid()))
        while slurm.queued_jobs():
            time.sleep(0.5)
        subprocess.run([NODE, folder, "stop"], check=True)


@pytest.fixture
def run_of(overrides):
    return lambda *more: Run(compose([*SHORT, *overrides, *more]))


def slurm_says(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()


@pytest.fixture
def at_once(node):
    """SLURM leaves a job that is queued again alone for two minutes: here it does not."""
    stop = threading.Event()

    def hurry():
        while not stop.wait(0.5):
            for line in slurm_says("squeue", "--noheader", "--array", "--states=PENDING", "--format=%i %r"):
                if line.endswith(" BeginTime"):
                    slurm_says("scontrol", "update", f"JobId={line.split()[0]}", "StartTime=now")

    thread = threading.Thread(target=hurry)
    thread.start()
    yield
    stop.set()
    thread.join()


def numbers(run):
    unsteady = ("seconds", "images_per_second", "finished", "commit")
    return {key: value for key, value in run.result.items() if key not in unsteady}


class Odd(slurm.Job):
    """A job that SLURM tells its time is over when a teacher has done three epochs; with another seed, it is killed."""

    def __call__(self):
        def odd(run, state):
            checkpoint.save(run, state)
            if run.cfg.seed == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            if run.teacher is None and len(state["rows"]) == 3 and "SLURM_RESTART_COUNT" not in os.environ:
                paths, dataset = [CONFIGS / "train.yaml"], compose(["dataset=tinyimagenet"]).dataset
                on = {"seed": 0, "workers": 1, "store": None, "device": torch.device("cpu")}
                told_too = StreamedTest(paths, torch.zeros(1), dataset, **on)  # its worker, which is forked
                with pytest.raises(UserError):
                    next(iter(told_too))
                # As SLURM does by itself, but at its next look at the clock only, half a minute later.
                slurm_says(
                    "scancel", "--signal=USR2", "{SLURM_ARRAY_JOB_ID}_{SLURM_ARRAY_TASK_ID}".format(**os.environ)
                )
                time.sleep(600)

        loop.save = odd
        super().__call__()


def test_a_job_whose_time_is_over_is_queued_again_and_ends_as_one_unbroken(run_of, at_once, monkeypatch, tmp_path):
    """It is a teacher, and its student waits. Another job is killed, which costs it and its student."""
    monkeypatch.setattr(slurm, "Job", Odd)
    student, killed, orphan = run_of("method=lls_st", "seed=1"), run_of("seed=2"), run_of("method=lls_st", "seed=2")
    failures = train_missing([student, killed, orphan], launcher="slurm", settings=SETTINGS)
    teacher = teacher_run(student)
    assert [(failure.run.id, failure.status) for failure in failures] == [
        (killed.id, "its job is over"),
        (orphan.id, "not started"),
    ]
    assert "Killed" in failures[0].last_lines[-1]
    lines = log_path(teacher).read_text()
    assert lines.count(f"  {teacher.id}, process ") == 2
    assert "this job is timed-out" in lines
    # The worker that was told too does not answer. Not asked: what submitit says once the job is queued again, for
    # SLURM may have ended it by then.
    assert lines.count("Calling checkpoint method") == 1
    assert "6 epochs on cpu, 3 of them done" in lines
    submission = next((Path(teacher.cfg.machine.output) / "slurm").glob("*/*_submission.sh"))
    assert "#SBATCH --signal=USR2@110" in submission.read_text().splitlines()

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    straight = run_of("method=lls_st", "seed=1", f"machine.output={tmp_path}/straight")
    assert train_missing([straight]) == []
    for broken, unbroken in ((teacher, teacher_run(straight)), (student, straight)):
        assert numbers(broken) == numbers(unbroken)


def test_the_launcher_of_hydra(run_of, overrides, at_once):
    """Two jobs: one is told that its time is over and goes on, one diverges, which the exit status says."""
    line = ["train.epochs=40", "train.milestones=[]", *overrides]
    words = [
        "-m",
        "hydra/launcher=submitit_slurm",
        *SETTINGS,
        "hydra.launcher.array_parallelism=1",
        *line,
        "train.lr=0.05,1e38",
    ]
    run = Run(compose([*line, "train.lr=0.05"]))
    launcher = subprocess.Popen(
        [sys.executable, ROOT / "train.py", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    begun = time.monotonic()
    while run.epochs_done < 2:
        assert launcher.poll() is None, launcher.communicate()[0]
        assert time.monotonic() - begun < 120
        time.sleep(0.05)
    (job,) = (job for job, state in slurm.queued_jobs().items() if state == "RUNNING")
    slurm_says("scancel", "--signal=USR2", job)
    told = launcher.communicate(timeout=200)[0]
    assert launcher.returncode == 1, told
    assert "loss was nan in epoch 1" in told
    assert "automatic_schema_matching" not in told
    assert run.result["epochs"] == 40
    (log,) = (Path(run.cfg.machine.output) / "slurm").glob(f"{job}/*_log.out")
    assert re.search(r"40 epochs on cpu, \d+ of them done", log.read_text())


@pytest.fixture
def tables_py(overrides, monkeypatch):
    """Run one cell of Table 3 by scripts/tables.py: its exit status."""
    small = ["columns=FMNIST", "rows=LLS", "seeds=0", "dataset=digits", "network=lenet", *SHORT, *overrides]
    words = ["run", "3", *small, *SETTINGS, "--launcher=slurm", "--wandb=disabled"]

    def run():
        monkeypatch.setattr(sys, "argv", ["tables.py", *words])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "scripts" / "tables.py"), run_name="__main__")
        return ended.value.code

    return run


def test_ctrl_c_leaves_the_jobs_and_the_same_call_watches_them(tables_py, node, tmp_path, monkeypatch, capsys):
    """Here it is scripts/tables.py, from the command line to the rendered cell."""

    def interrupted(*_):
        raise KeyboardInterrupt

    before = slurm.queued_jobs().keys()
    with monkeypatch.context() as patched:
        patched.setattr(slurm, "_watch", interrupted)
        assert tables_py() == 130
    (job,) = slurm.queued_jobs().keys() - before
    number = job.partition("_")[0]
    assert capsys.readouterr().out.startswith(
        f"submitted 1 runs as job {number}\n"
        f"the jobs go on: the same command watches them, scancel {number} ends them\n{tmp_path}"
    )
    (rendered,) = (tmp_path / "tables").glob("3-*.md")
    assert "| LLS | · / – |" in rendered.read_text()

    assert tables_py() == 0
    assert "submitted" not in capsys.readouterr().out
    assert re.search(r"\| LLS \| \d\d\.\d\d \(1/1\) / – \|", rendered.read_text())
    (log,) = (tmp_path / "logs").glob("*.txt")
    assert log.read_text().count(", process ") == 1


# -- without a SLURM ---------------------------------------------------------------------------------------------------


def test_settings():
    known = slurm.launcher_settings(["hydra.launcher.partition=gpu", "hydra.launcher.timeout_min=5"])
    assert (known["partition"], known["timeout_min"], known["max_num_timeout"]) == ("gpu", 5, 100)
    with pytest.raises(UserError, match=r"no such key: hydra.launcher.partitoin; did you mean 'partition'\?"):
        slurm.launcher_settings(["hydra.launcher.partitoin=gpu"])


def test_no_slurm_here(run_of, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="there is no SLURM here: squeue is not found"):
        train_missing([run_of()], launcher="slurm")
    with pytest.raises(UserError, match="a time limit is for this machine"):
        train_missing([run_of()], launcher="slurm", time_limit=5)
