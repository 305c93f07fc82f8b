"""Starting many runs: what is started, what a failure costs, and what is left when the runner is stopped or killed.

The runs are processes, forked from one that a session of tests starts once."""

import fcntl
import multiprocessing
import os
import pty
import re
import resource
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from omegaconf import OmegaConf
from results import write_result

from lls.config.compose import compose
from lls.errors import UserError
from lls.launch import local, worker
from lls.launch.queue import last_lines, log_path, missing_tasks
from lls.launch.slots import Slot, slots_for
from lls.launch.start import train_missing
from lls.runs.run import Run, deserialize, serialize, teacher_run
from lls.training import checkpoint, loop
from lls.training.checkpoint import load
from lls.training.execute import execute

ROOT = Path(__file__).resolve().parent.parent
SHORT = ["train.epochs=1", "train.milestones=[]"]


@pytest.fixture
def run_of(overrides, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # two threads wait for each other where other tests run beside
    return lambda *more: Run(compose([*SHORT, *overrides, *more]))


def ids(runs):
    return {run.id for run in runs}


def numbers(run):
    """What of a result does not depend on when and how fast it was reached."""
    unsteady = ("seconds", "images_per_second", "finished", "commit")
    return {key: value for key, value in run.result.items() if key not in unsteady}


def starts(run):
    """How many processes have begun to train a run."""
    log = log_path(run)
    return log.read_text().count(f"  {run.id}, process ") if log.exists() else 0


# -- what is started ---------------------------------------------------------------------------------------------------


def test_what_is_missing_teachers_first(run_of):
    plain, kd, st = run_of("method=ls"), run_of("method=kd"), run_of("method=lls_st")
    tasks, failures = missing_tasks([plain, kd, st, run_of("method=kd"), run_of("method=lls")])
    assert not failures
    assert [task.run.id for task in tasks] == [teacher_run(kd).id, teacher_run(st).id, plain.id, kd.id, st.id]
    assert [task.artifacts for task in tasks] == [{"last.pt"}, {"q.safetensors"}, set(), set(), set()]


def test_a_finished_teacher_is_missing_when_its_weights_are(run_of):
    """A fresh clone has results and no weights."""
    student = run_of("method=kd")
    teacher = teacher_run(student)
    write_result(teacher, {"id": teacher.id})
    (task, _), _ = missing_tasks([teacher, student])
    assert (task.run.id, task.missing_artifact) == (teacher.id, "last.pt")
    (teacher.folder / "last.pt").touch()
    assert [task.run.id for task in missing_tasks([teacher, student])[0]] == [student.id]


def test_a_finished_run_is_missing_when_a_figure_lacks_its_weights(run_of):
    run = run_of("method=ls")
    assert train_missing([run], jobs=1) == []
    (run.folder / "last.pt").unlink()
    assert missing_tasks([run]) == ([], [])
    ((task,), _) = missing_tasks([run], {run.id: {"last.pt"}})
    assert (task.missing_artifact, task.done) == ("last.pt", False)
    assert train_missing([run], files={run.id: {"last.pt"}}, jobs=1) == []
    assert run.has("last.pt")
    assert starts(run) == 2


def test_a_frozen_run_is_the_same_whatever_becomes_of_configs(run_of, monkeypatch):
    run = run_of("method=kd", "method.teacher.method=lls", "method.teacher.overrides=['method.alpha=0.3']")
    texts = serialize(run)
    monkeypatch.setattr("lls.runs.run.teacher_config", lambda cfg: pytest.fail("composed again"))
    again = deserialize(texts)
    assert (again.id, teacher_run(again).id) == (run.id, teacher_run(run).id)
    assert (again.folder, teacher_run(teacher_run(again))) == (run.folder, None)


def test_what_is_missing_is_trained_as_by_train_py(run_of, overrides, tmp_path, capsys):
    """Teacher and students of both kinds, each with a log; a second call has nothing to do."""
    runs = [run_of(f"method={method}") for method in ("lls_st", "kd", "lls")]
    assert train_missing(runs, jobs=2) == []
    teachers = [teacher_run(run) for run in runs[:2]]
    assert teachers[0].id == runs[2].id
    said = capsys.readouterr().out.splitlines()
    assert [line.split("]")[0] for line in said] == [f"[{i}/4" for i in range(1, 5)]
    for run in (*runs, teachers[1]):
        assert f"{run.id}  top-1 {run.result['top1']:.2f} %" in "".join(said)
        assert (starts(run), run.result["threads"]) == (1, 1)
        assert "epoch 1/1" in log_path(run).read_text()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = run_of("method=kd", f"machine.output={tmp_path}/alone")
    execute(alone)
    torch.set_num_threads(threads)
    assert numbers(alone) == numbers(runs[1])

    capsys.readouterr()
    assert train_missing(runs) == []
    assert capsys.readouterr().out == ""
    assert starts(runs[0]) == 1


def test_slots(run_of, monkeypatch):
    runs, cores = [run_of()], len(os.sched_getaffinity(0))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [slot.threads for slot in slots_for(runs, None)] == [1] * cores
    assert [slot.threads for slot in slots_for(runs, 1)] == [cores]
    monkeypatch.setenv("OMP_NUM_THREADS", str(cores))
    assert [slot.threads for slot in slots_for(runs, None)] == [cores]

    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    gpu = [run_of("machine.device=auto")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots_for(gpu, 2)] == ["5", "7", "5", "7"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots_for(gpu, None)] == ["0", "1"]
    assert slots_for(runs, 1)[0].environment == {}

    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert slots_for(gpu, None) == [Slot(cores, {})]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"jobs": 0}, "--jobs 0: at least 1"),
        ({"launcher": "pbs"}, "launcher pbs: local or slurm"),
        ({"settings": ["hydra.launcher.partition=gpu"]}, "hydra.launcher.partition=gpu: goes with --launcher slurm"),
    ],
)
def test_mistakes_are_one_line(keys, said, run_of):
    with pytest.raises(UserError) as error:
        train_missing([run_of()], **keys)
    assert str(error.value) == said


# -- failures ----------------------------------------------------------------------------------------------------------


def sabotaged(texts, *arguments):
    """lls.launch.worker.run_task, in which runs of some seeds come to harm when an epoch is over."""
    cfg = OmegaConf.create(texts[0])

    def harm(run, state):
        if cfg.seed == 1:
            print("the last words")
            os._exit(7)
        if cfg.seed == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if cfg.seed == 3:
            resource.setrlimit(resource.RLIMIT_AS, (1 << 32, resource.RLIM_INFINITY))
            torch.zeros(1 << 40)
        checkpoint.save(run, state)

    loop.save = harm
    worker.run_task(texts, *arguments)


def test_a_failure_costs_one_cell(run_of, monkeypatch, capsys):
    """Each is told of with its last lines; its students are not started; the others are finished."""
    monkeypatch.setattr(local, "_work", sabotaged)
    good = [run_of("seed=0"), run_of("seed=5"), run_of("method=kd", "seed=5")]
    exits, killed, memory = run_of("method=onehot", "seed=1"), run_of("seed=2"), run_of("seed=3")
    diverged, refused = run_of("train.lr=1e38", "train.epochs=2"), run_of("method.terms=nonsense")
    no_teacher = run_of("method=kd", "method.teacher.overrides=['train.lrr=1']")
    student = run_of("method=tfkd_self", "seed=1")
    students_student = run_of("method=kd", "seed=1", "method.teacher.method=tfkd_self")
    expected = {
        exits: (7, "the last words"),
        killed: ("killed by SIGKILL (out of memory?)", f"{killed.id}: 1 epochs on cpu"),
        memory: (1, "(?i)memory"),
        diverged: (
            1,
            r"error: .* (loss|nll) was (nan|inf|not finite) in epoch \d, step \d+.*; a lower train.lr may help",
        ),
        refused: (2, "error: method.terms=nonsense: must be a row of Table 4"),
        no_teacher: (2, "error: method.teacher: no such key: train.lrr; did you mean 'train.lr'?"),
        student: ("not started", f"its teacher {exits.id} failed"),
        students_student: ("not started", f"its teacher {student.id} failed"),
    }
    failures = {failure.run.id: failure for failure in train_missing([*expected, *good], jobs=2)}
    told = capsys.readouterr()
    assert failures.keys() == ids(expected)
    for run, (status, line) in expected.items():
        assert failures[run.id].status == status
        assert re.search(line.replace("'?", r"'\?"), failures[run.id].last_lines[-1]), failures[run.id].last_lines
        assert str(failures[run.id]) in told.err
        assert run.result is None
    assert all(run.result for run in good)
    assert f"{exits.id}  FAILED, exit status 7" in told.out
    assert f"{exits.id}: exit status 7\n" in told.err
    assert f"    {failures[exits.id].last_lines[-1]}\n" in told.err


def test_last_lines(tmp_path):
    log = tmp_path / "log.txt"
    assert last_lines(log) == []
    log.write_bytes(b"before\n" + b"\n".join(b"line %d\xff\n" % i for i in range(20)))
    assert last_lines(log) == [f"line {i}\ufffd" for i in range(10, 20)]
    assert last_lines(log, log.stat().st_size - 19) == ["line 18\ufffd", "line 19\ufffd"]


# -- stopped -----------------------------------------------------------------------------------------------------------


LONG = ["train.epochs=2000", "seed=9"]


def when(condition, act):
    """Call `act` from a thread as soon as `condition` holds."""

    def wait():
        begun = time.monotonic()
        while not condition() and time.monotonic() - begun < 60:
            time.sleep(0.01)
        act()

    threading.Thread(target=wait, daemon=True).start()


def processes(run):
    """Those that trained a run and still live."""
    stats = [Path(f"/proc/{pid}/stat") for pid in re.findall(rf"  {run.id}, process (\d+)", log_path(run).read_text())]
    return [stat for stat in stats if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"]


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_asked_to_stop(number, raised, run_of, capsys):
    """The run keeps its last epoch, nothing waits to be started, no process is left, and the handlers are as before."""
    run, handlers = run_of(*LONG), [signal.getsignal(number) for number in local.SIGNALS]
    when(lambda: run.epochs_done >= 2, lambda: os.kill(os.getpid(), number))
    with pytest.raises(raised) as stopped:
        train_missing([run_of(), run, run_of("seed=1", *LONG[:1])], jobs=1)
    assert number == signal.SIGINT or stopped.value.code == 128 + number
    assert capsys.readouterr().out.splitlines()[-1] == "stopped: 1 of 3 runs are done; the same command goes on"
    assert re.search(r"stopped after epoch \d+, which is kept in", last_lines(log_path(run))[-1])
    assert len(load(run)["rows"]) >= run.epochs_done >= 2  # it may have come between an epoch and its row
    assert not processes(run)
    assert not run.busy
    assert [signal.getsignal(number) for number in local.SIGNALS] == handlers


def sleeper(texts, *arguments):
    """lls.launch.worker.run_task, in which a run stays where it is when it has done two epochs."""

    def sleep(run, state):
        checkpoint.save(run, state)
        if len(state["rows"]) == 2:
            time.sleep(600)

    loop.save = sleep
    worker.run_task(texts, *arguments)


def test_a_time_limit_stops_and_the_same_call_goes_on(run_of, tmp_path, monkeypatch, capsys):
    """The run ends as one that was never stopped."""
    run, straight = run_of("train.epochs=4"), run_of("train.epochs=4", f"machine.output={tmp_path}/straight")
    with monkeypatch.context() as patched:
        patched.setattr(local, "_work", sleeper)
        assert train_missing([run], time_limit=3) == []
    assert capsys.readouterr().out == "the time limit is reached: 0 of 1 runs are done; the same command goes on\n"
    assert run.result is None
    assert train_missing([run, straight]) == []
    assert numbers(run) == numbers(straight)


def deaf(texts, *arguments):
    """lls.launch.worker.run_task, in which Ctrl-C does not get through."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker.run_task(texts, *arguments)


def test_who_does_not_stop_is_killed(run_of, monkeypatch):
    monkeypatch.setattr(local, "_work", deaf)
    monkeypatch.setattr(local, "STOP_TIMEOUT_SECONDS", 1)
    run = run_of(*LONG)
    assert train_missing([run], time_limit=5) == []  # in which it has begun, however busy the machine
    assert starts(run) == 1
    assert not processes(run)
    assert not run.busy


def test_killed_with_its_runner_and_typed_again(run_of, overrides, tmp_path):
    """The runner in a terminal of its own, which shows what runs; it gets SIGKILL, and nothing is left of it. The next
    goes on, with nothing redone."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom lls.config.compose import compose\nfrom lls.launch.start import start\n"
        "from lls.runs.run import Run\n"
        "if __name__ == '__main__':\n    start([Run(compose(line.split())) for line in sys.argv[1:]], jobs=2)\n"
    )
    first, long = run_of(), run_of("train.epochs=25", "seed=9")
    lines = [" ".join([*SHORT, *overrides]), " ".join([*SHORT, *overrides, "train.epochs=25", "seed=9"])]
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}  # pytest-xdist sets it
    environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm"}
    command = [sys.executable, str(script), *lines]
    runner = subprocess.Popen(
        command, cwd=ROOT, stdin=end, stdout=end, stderr=end, env=environment, start_new_session=True
    )
    os.close(end)
    expected = [
        rf"\[1/2\] {first.id}  top-1 \d+\.\d\d %, \d+ s",
        rf"{long.id} +epoch \d+/25  top-1 \d+\.\d\d %  [\d,]+ images/s  [\d:]+ left",
        r"1/2 done, 1 running, 0 to come; [\d:]+ left",
    ]
    shown, begun = "", time.monotonic()
    while not all(re.search(line, shown) for line in expected):
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 65536).decode(errors="replace")
        assert time.monotonic() - begun < 90, shown
    runner.kill()
    runner.wait()
    os.close(terminal)
    killed = time.monotonic()
    while processes(long):
        assert time.monotonic() - killed < 5
        time.sleep(0.02)
    assert long.result is None

    kept = len(load(long)["rows"])
    finished = first.result
    assert train_missing([first, long], jobs=2) == []
    assert first.result == finished
    assert (starts(first), starts(long)) == (1, 2)
    assert f"25 epochs on cpu, {kept} of them done" in log_path(long).read_text()


def test_two_runners_share_a_folder(run_of, monkeypatch):
    """Each run is trained once; both runners end when all are done."""
    # Two runners in one process are this test's own idea: multiprocessing would let each reap the other's processes.
    monkeypatch.setattr(multiprocessing.process, "_cleanup", lambda: None)
    pairs = [[run_of(f"seed={seed}", "method=kd") for seed in range(3)] for _ in range(2)]
    teachers = [teacher_run(run) for runs in pairs for run in runs]  # now: Hydra composes in one thread at a time
    failures = []
    threads = [
        threading.Thread(target=lambda runs=runs: failures.append(train_missing(runs, jobs=1))) for runs in pairs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == [[], []]
    for run in (*pairs[0], *teachers):
        assert run.result
        assert log_path(run).read_text().count("epoch 1/1") == 1


def test_a_run_that_another_process_trains_is_waited_for(run_of, monkeypatch):
    """Even when that is found out late: the process that was started for it gives up, and the runner looks again."""
    run, looks = run_of(), []
    monkeypatch.setattr(Run, "busy", property(lambda self: looks.append(self) is not None))
    run.folder.mkdir(parents=True)
    with FileLock(run.folder / ".lock", thread_local=False) as lock:
        when(lambda: len(looks) > 1, lock.release)
        assert train_missing([run], jobs=1) == []
    assert "is being trained by another process" in log_path(run).read_text()
    assert starts(run) >= 2
    assert run.result


def test_busy_is_who_holds_the_lock(run_of):
    run = run_of()
    assert not run.busy
    assert not run.folder.exists()
    with run_of().lock:
        assert run.busy
    assert not run.busy
