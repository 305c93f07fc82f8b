"""NVIDIA's MPS daemon is started, used and stopped. A shell script replaces its control program."""

import os
import signal
import subprocess
import sys

import pytest
from paths import ROOT
from processes import wait_until

from lls.launch.mps import CONTROL, MPS_TIMEOUT_SECONDS, share_gpus
from lls.launch.slots import Slot

CONTROL_SCRIPT = """#!/bin/sh
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
SHARED = [Slot(2, {"CUDA_VISIBLE_DEVICES": gpu}) for gpu in ("5", "7", "5", "7")]


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Install the control script. Returns a function that returns the commands that it has received."""
    for folder in ("bin", "default", "tmp"):
        (tmp_path / folder).mkdir()
    control = tmp_path / "bin" / CONTROL
    control.write_text(CONTROL_SCRIPT)
    control.chmod(0o755)
    monkeypatch.setenv("PATH", f"{control.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setenv("DEFAULT", str(tmp_path / "default"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "log").touch()
    return lambda: (tmp_path / "log").read_text().splitlines()


def temporary_folders(tmp_path):
    return [path.name for path in (tmp_path / "tmp").iterdir()]


def test_a_daemon_serves_shared_gpus(commands, tmp_path):
    """It sees all GPUs of the machine, whatever CUDA_VISIBLE_DEVICES is. It leaves no files when it is stopped."""
    with share_gpus([*SHARED, Slot(1, {})], trial=["true"]) as slots:
        (name,) = temporary_folders(tmp_path)
        folder = tmp_path / "tmp" / name
        variables = {"CUDA_MPS_PIPE_DIRECTORY": str(folder / "pipe"), "CUDA_MPS_LOG_DIRECTORY": str(folder / "log")}
        assert slots == [*(Slot(2, slot.environment | variables) for slot in SHARED), Slot(1, {})]
        assert commands() == ["start all"]
        assert "CUDA_MPS_PIPE_DIRECTORY" not in os.environ
    assert commands() == ["start all", "quit -t 10"]
    assert not temporary_folders(tmp_path)


@pytest.mark.parametrize("slots", [SHARED[:2], [Slot(1, {}), Slot(1, {})]], ids=["one each", "cpu"])
def test_no_daemon_where_no_gpu_is_shared(slots, commands):
    with share_gpus(slots, trial=["true"]) as same:
        assert same == slots
    assert not commands()


def test_a_running_daemon_is_left_alone(commands, tmp_path):
    (tmp_path / "default" / "control").touch()
    with share_gpus(SHARED, trial=["true"]) as same:
        assert same == SHARED
    assert commands() == ["get_server_list"]


def test_slots_are_unchanged_without_mps(commands, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    with share_gpus(SHARED, trial=["true"]) as same:
        assert same == SHARED
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    ("trial", "broken", "problem", "expected"),
    [
        (["true"], "1", "no such GPU", []),
        (["sh", "-c", "echo CUDA error: 805; echo; exit 1"], "", "CUDA error: 805", ["start all", "quit -t 10"]),
        (["sh", "-c", "exit 3"], "", "exit status 3", ["start all", "quit -t 10"]),
        (["sleep", "60"], "", "sleep does not answer within 0.5 s", ["start all", "quit -t 10"]),
    ],
)
def test_runs_start_without_mps_where_it_does_not_work(
    trial, broken, problem, expected, commands, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("BROKEN", broken)
    timeout = 0.5 if trial[0] == "sleep" else MPS_TIMEOUT_SECONDS
    with share_gpus(SHARED, trial=trial, timeout=timeout) as same:
        assert same == SHARED
        assert commands() == expected  # the daemon is stopped before the first run
    assert capsys.readouterr().out == f"MPS does not work ({problem}); runs take turns on each GPU\n"
    assert not temporary_folders(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_daemon_stops_when_the_launcher_is_stopped_or_killed(number, commands, tmp_path):
    script = tmp_path / "launcher.py"
    script.write_text(
        "import time\nfrom lls.launch.mps import share_gpus\nfrom lls.launch.slots import Slot\n"
        "with share_gpus([Slot(1, {'CUDA_VISIBLE_DEVICES': '0'})] * 2, trial=['true']):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp")}
    launcher = subprocess.Popen(
        [sys.executable, script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert launcher.stdout.readline() == b"ready\n"
    os.killpg(launcher.pid, number)
    launcher.wait(10)
    launcher.stdout.close()
    wait_until(lambda: not temporary_folders(tmp_path), timeout=10)
    assert commands() == ["start all", "quit -t 10"]
