"""The commit of the code, and the fingerprint of a method's code."""

import shutil
import subprocess

from lls.runs.provenance import PACKAGE, code_fingerprint, commit, method_code


def test_the_fingerprint_of_a_method_depends_on_its_code_alone(tmp_path):
    package = tmp_path / "lls"
    for name in ("methods", "losses"):
        shutil.copytree(PACKAGE / name, package / name)
    before, focal, flsd = (code_fingerprint(name, package) for name in ("lls", "focal", "flsd"))
    assert before == method_code("lls")
    path = package / "methods" / "lls.py"
    text = path.read_text()
    path.write_text(text.replace('"""Learnable', '"""Another docstring. Learnable').replace("# Table 4", "#  T 4"))
    assert code_fingerprint("lls", package) == before
    path.write_text(text.replace("scale: float = 0.5", "scale: float = 0.6"))
    assert code_fingerprint("lls", package) != before
    path.write_text(text)
    loss = package / "losses" / "symmetric_kl.py"
    loss.write_text(loss.read_text().replace("learned + (1 - alpha)", "learned + (1.001 - alpha)"))
    assert code_fingerprint("lls", package) != before  # of the loss that it imports
    assert code_fingerprint("focal", package) == focal
    focal_file = package / "methods" / "focal.py"
    focal_file.write_text(focal_file.read_text().replace("expm1(log_p)", "expm1(log_p * 1)"))
    assert code_fingerprint("flsd", package) != flsd  # of the method that it extends


def test_outside_git_the_commit_is_an_environment_variable(tmp_path, monkeypatch):
    root = tmp_path / "others"
    root.mkdir()
    subprocess.run(["git", "init", "-q", tmp_path], check=True)  # another repository contains the folder
    monkeypatch.delenv("LLS_COMMIT", raising=False)
    assert commit(root) is None
    monkeypatch.setenv("LLS_COMMIT", "abc123")
    assert commit(root) == "abc123"
