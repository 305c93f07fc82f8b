"""NVIDIA's MPS daemon, by a script that stands in for its control program: started, found, stopped, done without."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lls.launch import mps
from lls.launch.slots import Slot

ROOT = Path(__file__).resolve().parent.parent
CONTROL = """#!/bin/sh
pipes=${CUDA_MPS_PIPE_DIRECTORY:-$DEFAULT}
if [ "$1" = -d ]; then
    [ -z "$BROKEN" ] || { echo "no such GPU"; exit 1; }
    echo "start ${CUDA_VISIBLE_DEVICES-all}" >>"$LOG"
    touch "$pipes/control"
    exit
fi
[ -e "$pipes/control" ] || { echo "Cannot find MPS control daemon process"; exit 1; }
read -r command
echo "$command" >>"$LOG"
case "$command" in quit*) rm "$pipes/control" ;; esac
"""
SHARING = [Slot(2, {"CUDA_VISIBLE_DEVICES": gpu}) for gpu in ("5", "7", "5", "7")]


@pytest.fixture
def log(tmp_path, monkeypatch):
    """What the daemon was told."""
    for folder in ("bin", "default", "tmp"):
        (tmp_path / folder).mkdir()
    control = tmp_path / "bin" / mps.CONTROL
    control.write_text(CONTROL)
    control.chmod(0o755)
    monkeypatch.setenv("PATH", f"{control.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setenv("DEFAULT", str(tmp_path / "default"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    monkeypatch.setattr(mps.tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(mps, "TRIAL", ["true"])
    (tmp_path / "log").touch()
    return lambda: (tmp_path / "log").read_text().splitlines()


def left(tmp_path):
    return [path.name for path in (tmp_path / "tmp").iterdir()]


def test_a_daemon_for_the_gpus_that_are_shared(log, tmp_path):
    """It counts the GPUs as the machine does, whatever is visible here; stopped, it leaves nothing."""
    with mps.shared([*SHARING, Slot(1, {})]) as slots:
        (folder,) = left(tmp_path)
        where = tmp_path / "tmp" / folder
        found = {"CUDA_MPS_PIPE_DIRECTORY": str(where / "pipe"), "CUDA_MPS_LOG_DIRECTORY": str(where / "log")}
        assert slots == [*(Slot(2, slot.environment | found) for slot in SHARING), Slot(1, {})]
        assert log() == ["start all"]
        assert "CUDA_MPS_PIPE_DIRECTORY" not in os.environ
    assert log() == ["start all", "quit -t 10"]
    assert not left(tmp_path)


@pytest.mark.parametrize("slots", [SHARING[:2], [Slot(1, {}), Slot(1, {})]], ids=["one each", "cpu"])
def test_none_where_nothing_is_shared(slots, log):
    with mps.shared(slots) as same:
        assert same == slots
    assert not log()


def test_one_that_runs_is_left_alone(log, tmp_path):
    (tmp_path / "default" / "control").touch()
    with mps.shared(SHARING) as same:
        assert same == SHARING
    assert log() == ["get_server_list"]


def test_not_installed(log, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    with mps.shared(SHARING) as same:
        assert same == SHARING
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    ("trial", "broken", "said", "told"),
    [
        (["true"], "1", "no such GPU", []),
        (["sh", "-c", "echo CUDA error: 805; echo; exit 1"], "", "CUDA error: 805", ["start all", "quit -t 10"]),
        (["sh", "-c", "exit 3"], "", "exit status 3", ["start all", "quit -t 10"]),
        (["sleep", "60"], "", "sleep does not answer within 0.5 s", ["start all", "quit -t 10"]),
    ],
)
def test_where_it_does_not_work_runs_go_without(trial, broken, said, told, log, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BROKEN", broken)
    monkeypatch.setattr(mps, "TRIAL", trial)
    monkeypatch.setattr(mps, "MPS_TIMEOUT_SECONDS", 0.5 if trial[0] == "sleep" else 60)
    with mps.shared(SHARING) as same:
        assert same == SHARING
        assert log() == told  # stopped before the first run
    assert capsys.readouterr().out == f"runs take turns on a GPU, as MPS does not work here ({said})\n"
    assert not left(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_however_the_runner_ends(number, log, tmp_path):
    script = tmp_path / "runner.py"
    script.write_text(
        "import tempfile, time\nfrom lls.launch import mps\nfrom lls.launch.slots import Slot\n"
        f"tempfile.tempdir, mps.TRIAL = {str(tmp_path / 'tmp')!r}, ['true']\n"
        "with mps.shared([Slot(1, {'CUDA_VISIBLE_DEVICES': '0'})] * 2):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    runner = subprocess.Popen(
        [sys.executable, script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert runner.stdout.readline() == b"ready\n"
    os.killpg(runner.pid, number)
    runner.wait(10)
    runner.stdout.close()
    begun = time.monotonic()
    while left(tmp_path):
        assert time.monotonic() - begun < 10
        time.sleep(0.02)
    assert log() == ["start all", "quit -t 10"]
