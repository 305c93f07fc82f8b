"""Give a method its teacher: the logits or the Q of a finished run.

If the yaml of a method has `teacher:`, its teacher is a run. `teacher:` lists how that run's configuration differs from
the student's. If the yaml also has `q:`, the method gets the Q of that run, or of the file `method.q`. Otherwise it
gets the logits of the run's network.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from lls.device import autocast
from lls.errors import UserError, one_line
from lls.methods.base import Method
from lls.methods.teacher import Teacher
from lls.qmatrix import QMatrix, load_q
from lls.runs.run import Run, teacher_run
from lls.training.checkpoint import load


def give_teacher(run: Run, method: Method, classes: list[str], device: torch.device) -> None:
    """Call `method.set_teacher` if the run has a teacher, which must be finished.

    Raises UserError if the method refuses the teacher."""
    if (teacher := teacher_inputs(run, classes, device)) is None:
        return
    try:
        method.set_teacher(teacher)
    except ValueError as error:
        raise UserError(f"method.teacher: {error}") from None


def teacher_inputs(run: Run, classes: list[str], device: torch.device) -> Teacher | Tensor | None:
    """Return the argument of `method.set_teacher`: a function from images to logits, or the logits of a Q `[K, K]`.

    classes: the student's class names. Returns None if the run has no teacher, which otherwise must be finished.
    Raises UserError if the teacher's files can't be read, or if its classes do not fit."""
    method = run.cfg.method
    if "teacher" not in method:
        return None
    teacher = teacher_run(run)
    if "q" in method:
        path = Path(str(method.q)).expanduser() if teacher is None else teacher.folder / "q.safetensors"
        return _load_q(path).restrict(classes).logits
    return _make_logits_function(teacher, classes, device, run.cfg.machine.precision)


def _load_q(path: Path) -> QMatrix:
    try:
        return load_q(path)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        reason = one_line(error)
        raise UserError(f"method.q: {path} can't be read as a Q matrix ({reason}); lls.save_q writes one") from None


def _make_logits_function(teacher: Run, classes: list[str], device: torch.device, precision: str) -> Teacher:
    """Return a function from images `[B, C, H, W]` to the logits `[B, K]` of the teacher's network in eval mode."""
    from lls.training.build import build_network

    try:
        state = load(teacher)
    except (OSError, ValueError) as error:
        advice = "remove it, and the teacher is trained again"
        raise UserError(f"method.teacher: {teacher.folder}/last.pt can't be read ({error}); {advice}") from None
    if state["classes"] != classes:
        of_teacher, of_student = (f"{len(names)} ({', '.join(names[:3])} ...)" for names in (state["classes"], classes))
        raise UserError(f"the teacher {teacher.id} was trained on other classes: {of_teacher}, not {of_student}")
    dataset = teacher.cfg.dataset
    net = build_network(teacher.cfg.network, len(classes), dataset.channels, dataset.size)
    net.load_state_dict(state["network"])
    net.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    last: list[Tensor] = [torch.empty(0), torch.empty(0)]  # the last images, and their logits

    @torch.no_grad()
    def logits(x: Tensor) -> Tensor:
        if last[0] is not x:  # With Mixup a batch has two labels, and the loss of each asks for the logits.
            with autocast(device, precision):
                last[:] = x, net(x)[0].float()
        return last[1]

    return logits
