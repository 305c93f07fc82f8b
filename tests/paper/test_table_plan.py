"""scripts/tables.py plan: states, commands and time left of runs, and the counts that they rest on."""

import json
import re
import shlex

import pytest
from results import write_result

from lls import host
from lls.config.assemble import compose_with_hydra
from lls.paper.tables import cost, load
from lls.paper.tables.plan import plan
from lls.runs.planned import run_of
from lls.runs.run import identity


def test_commands_are_those_of_the_runs(run_script):
    status, out, _ = run_script("tables.py", "plan", "6", "2", "columns=FMNIST,R18")
    lines = [line for line in out.splitlines() if "python train.py" in line]
    assert status == 0
    assert lines
    for line in lines:
        command = shlex.split(line[line.index("python train.py") :])[2:]
        assert identity(compose_with_hydra(command)) == line.split()[0]


def test_plan_shows_done_partial_and_to_do(run_script, tmp_path):
    words = ["3", "columns=FMNIST", "rows=LLS", f"machine.output={tmp_path}", "budget=0.05"]
    runs = load("3", words[1:]).cells["LLS", "FMNIST AlexNet"].runs
    for run in runs[:2]:
        run.write_config()
        (run.folder / "metrics.jsonl").write_text("{}\n" * 4)
    result = {"dataset": "fashionmnist", "network": "alexnet", "device": "nowhere", "seconds": 1, "epochs": 1}
    write_result(runs[0], result)
    status, out, _ = run_script("tables.py", "plan", *words)
    assert status == 0
    heading, *rows = (re.split(r"  +", line) for line in out.splitlines()[:4])
    assert heading == ["run", "state", "time left", "command"]
    assert [state for _, state, *_ in rows] == ["done", "4/10 epochs", "to do"]
    assert [len(row) for row in rows] == [3, 4, 4]  # a finished run has no time left
    assert "3 runs, 0 of them teachers of others: 1 done, 1 partial, 1 to do" in out


def test_plan_shows_finished_runs_that_would_be_trained_again(run_script, tmp_path):
    """A figure needs the lost weights of a finished run. `figures` alone plans no tables."""
    output = f"machine.output={tmp_path}"
    run = run_of(["dataset=fashionmnist", "network=lenet", "method=ls", output])
    run.write_config()
    write_result(run, {"dataset": "fashionmnist", "network": "lenet", "device": "nowhere", "seconds": 1, "epochs": 200})
    status, out, _ = run_script("tables.py", "plan", "figures", output, "columns=nothing")
    assert status == 0
    (line,) = (line for line in out.splitlines() if line.startswith(run.id))
    assert line.split()[1:3] == ["no", "last.pt"]
    assert f"python train.py dataset=fashionmnist network=lenet method=ls {output}" in line
    assert "57 runs, 0 of them teachers of others: 0 done, 0 partial, 57 to do" in out


def test_the_speed_is_measured_once_on_each_machine(tmp_path, monkeypatch):
    """The folder of the cache may be on a disk that several machines share, or be copied."""
    monkeypatch.chdir(tmp_path)
    measurements = iter([cost.Rate("slow", 1e9), cost.Rate("fast", 1e12)])
    monkeypatch.setattr(cost, "measure_rate", lambda: next(measurements))
    assert [cost.machine_rate().device, cost.machine_rate().device] == ["slow", "slow"]
    monkeypatch.setattr(host, "processor_name", lambda: "another")
    assert [cost.machine_rate().device, cost.machine_rate().device] == ["fast", "fast"]


def test_time_left_comes_from_finished_runs_where_some_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cost.CACHE.mkdir(parents=True)
    rate = cost.Rate("here", 1e12)
    (cost.CACHE / f"rate-{host.host_fingerprint()}.json").write_text(json.dumps(rate._asdict()))
    table = load("3", ["columns=FMNIST", "rows=LLS", f"machine.output={tmp_path}"])
    by_flops = plan([table], tmp_path)
    flops = 60_000 * 3 * cost.size_of(by_flops[0].run).flops + 10_000 * cost.size_of(by_flops[0].run).flops
    assert by_flops[0].seconds == pytest.approx(200 * max(flops / 1e12, 468 * cost.MIN_STEP_SECONDS))
    run = by_flops[2].run
    run.write_config()
    write_result(
        run, {"dataset": "fashionmnist", "network": "alexnet", "device": "here", "seconds": 100.0, "epochs": 200}
    )
    by_runs = plan([table], tmp_path)
    assert [p.seconds for p in by_runs] == [100, 100, 0]
    assert by_runs[0].measured


def test_images_of_a_user_are_counted(tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        for name in ("a", "b"):
            (tmp_path / "my images" / split / name).mkdir(parents=True)
            for i in range(count):
                (tmp_path / "my images" / split / name / f"{i}.png").touch()
    there, missing = (
        run_of(["dataset=imagefolder", f"dataset.root='{tmp_path}/{name}'", "network=resnet18"])
        for name in ("my images", "none")
    )
    assert cost.images_of(there) == (6, 4)
    assert cost.images_of(missing) is None


def test_parameter_counts_are_those_of_table_9():
    run = load("9", ["columns=R18 parameters", "rows=LLS"]).cells["LLS", "R18 parameters"].runs[0]
    assert cost.parameters(run) == 11_618_632
