"""Runs as jobs of a real SLURM of one node, started for these tests; they are skipped where none is installed."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from paths import ROOT
from processes import before_checkpoint, call_when, comparable_result

from lls.config.assemble import CONFIGS
from lls.config.compose import compose
from lls.data.streaming import StreamedTest
from lls.errors import UserError
from lls.launch.queue import log_path, missing_tasks
from lls.launch.start import train_missing
from lls.runs.run import Run, teacher_run

submitit = pytest.importorskip("submitit")
from lls.launch.slurm import Job, launcher_settings, queued_jobs, run_on_slurm  # noqa: E402 - after the line above

START_SLURM = Path(__file__).parent / "start_slurm.sh"
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
    subprocess.run([START_SLURM, folder], check=True, timeout=60)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        patched.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests" / "launch"))))
        yield
        slurm_command("scancel", "--user", str(os.getuid()))
        while queued_jobs():
            time.sleep(0.5)
        subprocess.run([START_SLURM, folder, "stop"], check=True)


@pytest.fixture
def make_run(overrides):
    return lambda *more: Run(compose([*SHORT, *overrides, *more]))


def slurm_command(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()


@pytest.fixture
def immediate_requeue(node):
    """SLURM starts a job that is queued again only after two minutes. With this fixture it starts at once."""
    stop = threading.Event()

    def start_requeued_jobs():
        while not stop.wait(0.5):
            for line in slurm_command("squeue", "--noheader", "--array", "--states=PENDING", "--format=%i %r"):
                if line.endswith(" BeginTime"):
                    slurm_command("scontrol", "update", f"JobId={line.split()[0]}", "StartTime=now")

    thread = threading.Thread(target=start_requeued_jobs)
    thread.start()
    yield
    stop.set()
    thread.join()


class InterruptedJob(Job):
    """A job whose teacher run gets SLURM's time-limit signal after three epochs. With seed 2 it is killed instead."""

    def __init__(self, task):
        super().__init__(task)
        self.seed, self.is_teacher = task.run.cfg.seed, teacher_run(task.run) is None

    def __call__(self):
        before_checkpoint(self.interrupt)
        super().__call__()

    def interrupt(self, number):
        if self.seed == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.is_teacher and number == 4 and "SLURM_RESTART_COUNT" not in os.environ:
            paths, dataset = [CONFIGS / "train.yaml"], compose(["dataset=tinyimagenet"]).dataset
            keys = {"seed": 0, "workers": 1, "store": None, "device": torch.device("cpu")}
            loader = StreamedTest(paths, torch.zeros(1), dataset, **keys)  # its forked worker gets the signal, too
            with pytest.raises(UserError):
                next(iter(loader))
            # SLURM sends the signal by itself, but only when it checks the time limits, half a minute later.
            slurm_command("scancel", "--signal=USR2", "{SLURM_ARRAY_JOB_ID}_{SLURM_ARRAY_TASK_ID}".format(**os.environ))
            time.sleep(600)


def test_a_job_at_its_time_limit_is_queued_again_and_gives_the_same_result(
    make_run, immediate_requeue, monkeypatch, tmp_path
):
    """The job is a teacher's, and its student waits. Another job is killed: it and its student fail."""
    student, killed, orphan = (
        make_run("method=lls_st", "seed=1"),
        make_run("seed=2"),
        make_run("method=lls_st", "seed=2"),
    )
    tasks, failures = missing_tasks([student, killed, orphan])
    failures += run_on_slurm(tasks, None, SETTINGS, job_type=InterruptedJob, poll_seconds=0.5, result_timeout=3)
    teacher = teacher_run(student)
    assert [(failure.run.id, failure.status) for failure in failures] == [
        (killed.id, "its job ended without a result"),
        (orphan.id, "not started"),
    ]
    assert "Killed" in failures[0].last_lines[-1]
    lines = log_path(teacher).read_text()
    assert lines.count(f"  {teacher.id}, process ") == 2
    assert "this job is timed-out" in lines
    # The worker process ignores the signal. What submitit prints after it has queued the job again is not checked:
    # SLURM may have ended the process by then.
    assert lines.count("Calling checkpoint method") == 1
    assert "6 epochs on cpu, 3 of them done" in lines
    submission = next((Path(teacher.cfg.machine.output) / "slurm").glob("*/*_submission.sh"))
    assert "#SBATCH --signal=USR2@110" in submission.read_text().splitlines()

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    uninterrupted = make_run("method=lls_st", "seed=1", f"machine.output={tmp_path}/uninterrupted")
    assert train_missing([uninterrupted]) == []
    for interrupted, other in ((teacher, teacher_run(uninterrupted)), (student, uninterrupted)):
        assert comparable_result(interrupted) == comparable_result(other)


def test_hydras_launcher(make_run, overrides, immediate_requeue):
    """Of two jobs, one gets the time-limit signal and resumes. The other diverges, and the exit status is 1."""
    words = ["train.epochs=40", "train.milestones=[]", *overrides]
    command = ["-m", "hydra/launcher=submitit_slurm", *SETTINGS, "hydra.launcher.array_parallelism=1"]
    run = Run(compose([*words, "train.lr=0.05"]))
    launcher = subprocess.Popen(
        [sys.executable, ROOT / "train.py", *command, *words, "train.lr=0.05,1e38"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    start = time.monotonic()
    while run.epochs_done < 2:
        assert launcher.poll() is None, launcher.communicate()[0]
        assert time.monotonic() - start < 120
        time.sleep(0.05)
    (job,) = (job for job, state in queued_jobs().items() if state == "RUNNING")
    slurm_command("scancel", "--signal=USR2", job)
    output = launcher.communicate(timeout=200)[0]
    assert launcher.returncode == 1, output
    assert "loss was nan in epoch 1" in output
    assert "automatic_schema_matching" not in output
    assert run.result["epochs"] == 40
    (log,) = (Path(run.cfg.machine.output) / "slurm").glob(f"{job}/*_log.out")
    assert re.search(r"40 epochs on cpu, \d+ of them done", log.read_text())


def test_ctrl_c_leaves_the_jobs_and_the_same_command_watches_them(run_script, overrides, node, tmp_path):
    """One cell of Table 3 by scripts/tables.py, from the command line to the rendered cell."""
    small = ["columns=FMNIST", "rows=LLS", "seeds=0", "dataset=digits", "network=lenet", *SHORT, *overrides]
    words = ["run", "3", *small, *SETTINGS, "--launcher=slurm", "--wandb=disabled"]

    before = queued_jobs().keys()
    call_when(lambda: [*tmp_path.glob("logs/*.job")], lambda: os.kill(os.getpid(), signal.SIGINT))
    status, output, _ = run_script("tables.py", *words)
    assert status == 130
    (job,) = queued_jobs().keys() - before
    number = job.partition("_")[0]
    assert (
        f"next: train 1 run, teachers first, and render the tables: 1 s on one GPU, one run at a time\n"
        f"submitted 1 run as job {number}\n"
        f"the jobs continue: repeat the command to watch them, or cancel them by scancel {number}\n{tmp_path}"
    ) in output
    (rendered,) = (tmp_path / "tables").glob("3-*.md")
    assert "| LLS | · / – |" in rendered.read_text()

    status, output, _ = run_script("tables.py", *words)
    assert status == 0
    assert "submitted" not in output
    assert re.search(r"\| LLS \| \d\d\.\d\d \(1/1\) / – \|", rendered.read_text())
    (log,) = (tmp_path / "logs").glob("*.txt")
    assert log.read_text().count(", process ") == 1


def test_launcher_settings():
    settings = launcher_settings(["hydra.launcher.partition=gpu", "hydra.launcher.timeout_min=5"])
    assert (settings["partition"], settings["timeout_min"], settings["max_num_timeout"]) == ("gpu", 5, 100)
    with pytest.raises(UserError, match=r"no such key: hydra.launcher.partitoin; did you mean 'partition'\?"):
        launcher_settings(["hydra.launcher.partitoin=gpu"])


def test_mistakes_where_slurm_is_not_installed(make_run, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="there is no SLURM here: squeue is not found"):
        train_missing([make_run()], launcher="slurm")
    with pytest.raises(UserError, match="--time-limit is for this machine only"):
        train_missing([make_run()], launcher="slurm", time_limit=5)
