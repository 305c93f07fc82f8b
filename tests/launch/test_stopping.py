"""Runs that are stopped or killed leave nothing behind, and several commands share one output folder."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest
from filelock import FileLock
from paths import ROOT
from processes import before_checkpoint, call_when, comparable_result, count_starts, live_processes, wait_until

from lls.config.compose import compose
from lls.launch.local import STOP_SIGNALS, run_locally
from lls.launch.queue import last_lines, log_path, missing_tasks
from lls.launch.slots import slots_for
from lls.launch.start import train_missing
from lls.runs.run import Run, teacher_run
from lls.training.checkpoint import load

SHORT = ["train.epochs=1", "train.milestones=[]"]
LONG = ["train.epochs=2000", "seed=9"]


@pytest.fixture
def make_run(overrides):
    return lambda *more: Run(compose([*SHORT, *overrides, *more]))


@pytest.fixture
def start_launcher(overrides, tmp_path):
    """Start train_missing in another process: start_launcher(jobs, overrides of a run, ..., **keywords of Popen)."""
    script = tmp_path / "launcher.py"
    script.write_text(
        "import sys\nfrom lls.config.compose import compose\nfrom lls.launch.start import train_missing\n"
        "from lls.runs.run import Run\n"
        "if __name__ == '__main__':\n"
        "    runs = [Run(compose(line.split())) for line in sys.argv[2:]]\n"
        "    sys.exit(len(train_missing(runs, jobs=int(sys.argv[1]))))\n"
    )
    # pytest-xdist sets COLUMNS, which would be the width of the terminal.
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm"}

    def start(jobs, *runs, **keys):
        lines = [" ".join([*SHORT, *overrides, *more]) for more in runs]
        return subprocess.Popen(
            [sys.executable, str(script), str(jobs), *lines],
            cwd=ROOT,
            env=environment,
            start_new_session=True,
            **keys,
        )

    return start


def train_with(target, runs, time_limit=None, **keys):
    """Train the missing runs in processes that call `target`."""
    tasks, failures = missing_tasks(runs)
    return failures + run_locally(tasks, slots_for(runs, None), time_limit, target=target, **keys)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_stopped_by_a_signal(number, raised, make_run, capsys):
    """The run has its last epoch, nothing waits to be started, no process is left, and the handlers are as before."""
    run, handlers = make_run(*LONG), [signal.getsignal(number) for number in STOP_SIGNALS]
    call_when(lambda: run.epochs_done >= 2, lambda: os.kill(os.getpid(), number))
    with pytest.raises(raised) as stopped:
        train_missing([make_run(), run, make_run("seed=1", *LONG[:1])], jobs=1)
    assert number == signal.SIGINT or stopped.value.code == 128 + number
    assert capsys.readouterr().out.splitlines()[-1] == "stopped: 1 of 3 runs are done; repeat the command to continue"
    assert re.search(r"stopped after epoch \d+, which is saved in", last_lines(log_path(run))[-1])
    assert len(load(run)["rows"]) >= run.epochs_done >= 2  # the signal may come between a checkpoint and its row
    assert not live_processes(run)
    assert not run.busy
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == handlers


def sleep_after_two_epochs(*arguments):
    """lls.launch.worker.run_task, except that a run sleeps when it has saved two epochs."""
    before_checkpoint(lambda number: number == 3 and time.sleep(600))
    from lls.launch.worker import run_task  # here: it imports all that a run may need

    run_task(*arguments)


def test_a_time_limit_stops_and_the_same_call_resumes(make_run, tmp_path, capsys):
    """The run ends as one that was never stopped."""
    run, uninterrupted = make_run("train.epochs=4"), make_run("train.epochs=4", f"machine.output={tmp_path}/other")
    assert train_with(sleep_after_two_epochs, [run], time_limit=3) == []
    assert capsys.readouterr().out == "time limit reached: 0 of 1 runs are done; repeat the command to continue\n"
    assert run.result is None
    assert train_missing([run, uninterrupted]) == []
    assert comparable_result(run) == comparable_result(uninterrupted)


def ignore_sigint(*arguments):
    """lls.launch.worker.run_task, except that Ctrl-C has no effect."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from lls.launch.worker import run_task  # here: it imports all that a run may need

    run_task(*arguments)


def test_a_run_that_does_not_stop_is_killed(make_run):
    run = make_run(*LONG)
    # On a busy machine the run needs some seconds to start.
    assert train_with(ignore_sigint, [run], time_limit=5, stop_timeout=1) == []
    assert count_starts(run) == 1
    assert not live_processes(run)
    assert not run.busy


def test_a_killed_launcher_leaves_no_process_and_the_same_command_resumes(make_run, start_launcher):
    """The launcher runs in a terminal of its own, shows the runs, and is killed. The next call repeats nothing."""
    first, long = make_run(), make_run("train.epochs=25", "seed=9")
    terminal, launcher_side = pty.openpty()
    fcntl.ioctl(launcher_side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), launcher_side)
    launcher = start_launcher(2, [], ["train.epochs=25", "seed=9"], **streams)
    os.close(launcher_side)
    expected = [
        rf"\[1/2\] {first.id}  top-1 \d+\.\d\d %, \d+ s",
        rf"{long.id} +epoch \d+/25  top-1 \d+\.\d\d %  [\d,]+ images/s  [\d:]+ left",
        r"1/2 done, 1 running, 0 waiting; [\d:]+ left",
    ]
    output, start = "", time.monotonic()
    while not all(re.search(line, output) for line in expected):
        if select.select([terminal], [], [], 0.1)[0]:
            output += os.read(terminal, 65536).decode(errors="replace")
        assert time.monotonic() - start < 90, output
    launcher.kill()
    launcher.wait()
    os.close(terminal)
    wait_until(lambda: not live_processes(long), timeout=5)
    assert long.result is None

    epochs, finished = len(load(long)["rows"]), first.result
    assert train_missing([first, long], jobs=2) == []
    assert first.result == finished
    assert (count_starts(first), count_starts(long)) == (1, 2)
    assert f"25 epochs on cpu, {epochs} of them done" in log_path(long).read_text()


def test_two_launchers_share_a_folder(make_run, start_launcher):
    """Each run is trained once. Both launchers end when all runs are done."""
    overrides = [[f"seed={seed}", "method=kd"] for seed in range(3)]
    runs = [make_run(*more) for more in overrides]
    teachers = [teacher_run(run) for run in runs]
    other = start_launcher(1, *overrides)
    wait_until(lambda: any(count_starts(teacher) for teacher in teachers), timeout=120)
    assert train_missing(runs, jobs=1) == []
    assert other.wait(120) == 0
    for run in (*runs, *teachers):
        assert run.result
        assert log_path(run).read_text().count("epoch 1/1") == 1


def start_after_lock(texts, missing_artifact, log, *arguments):
    """lls.launch.worker.run_task, except that a run waits until another process holds its lock, if it is the first."""
    if not log.exists():
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        wait_until((log.parent / "locked").exists)
    from lls.launch.worker import run_task  # here: it imports all that a run may need

    run_task(texts, missing_artifact, log, *arguments)


def test_a_run_that_another_process_trains_is_waited_for(make_run):
    """The other process takes the lock when the run's process has already started: that process gives up."""
    run, log = make_run(), log_path(make_run())
    run.folder.mkdir(parents=True)
    lock = FileLock(run.folder / ".lock", thread_local=False)

    def take_lock():
        lock.acquire()
        (log.parent / "locked").touch()

    call_when(log.exists, take_lock)
    call_when(lambda: log.exists() and "is being trained by another process" in log.read_text(), lock.release)
    assert train_with(start_after_lock, [run]) == []
    assert "is being trained by another process" in log.read_text()
    assert count_starts(run) >= 2
    assert run.result
