"""What a finished run teaches another: its logits, as a plain function of the images, or its Q.

A method whose yaml has `teacher:` is taught by a run that differs from its own in what is said there. If the yaml has
`q:` too, it is taught by that run's Q (or the file's that `method.q` names), else by the network's logits.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from lls.device import autocast
from lls.errors import UserError, one_line
from lls.methods.base import Method, Teacher
from lls.qmatrix import QMatrix, load_q
from lls.runs.run import Run, teacher_run
from lls.training.checkpoint import load


def give_teacher(run: Run, method: Method, classes: list[str], device: torch.device) -> None:
    """Give `run`'s method its teacher, which is finished, if it has one. UserError if the two do not go together."""
    if (teacher := teacher_inputs(run, classes, device)) is None:
        return
    try:
        method.set_teacher(teacher)
    except ValueError as error:
        raise UserError(f"method.teacher: {error}") from None


def teacher_inputs(run: Run, classes: list[str], device: torch.device) -> Teacher | Tensor | None:
    """What `run`'s method is given by its teacher, which is finished: a function from images to logits, or a Q's logits
    `[K, K]`; None for a method that is not taught. UserError if it does not fit `classes`."""
    method = run.cfg.method
    if "teacher" not in method:
        return None
    teacher = teacher_run(run)
    if "q" in method:
        path = Path(str(method.q)).expanduser() if teacher is None else teacher.folder / "q.safetensors"
        return _q(path).restrict(classes).logits
    return _logits(teacher, classes, device, run.cfg.machine.precision)


def _q(path: Path) -> QMatrix:
    try:
        return load_q(path)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        reason = one_line(error)
        raise UserError(f"method.q: {path} can't be read as a Q matrix ({reason}); lls.save_q writes one") from None


def _logits(teacher: Run, classes: list[str], device: torch.device, precision: str) -> Teacher:
    from lls.training.build import build_network

    try:
        state = load(teacher)
    except (OSError, ValueError) as error:
        raise UserError(f"method.teacher: {teacher.folder}/last.pt can't be read ({error}); remove it") from None
    if state["classes"] != classes:
        theirs, ours = (f"{len(names)} ({', '.join(names[:3])} ...)" for names in (state["classes"], classes))
        raise UserError(f"the teacher {teacher.id} knows other classes: {theirs}, and not {ours}")
    data = teacher.cfg.dataset
    net = build_network(teacher.cfg.network, len(classes), data.channels, data.size)
    net.load_state_dict(state["network"])
    net.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    seen: list[Tensor] = [torch.empty(0), torch.empty(0)]

    @torch.no_grad()
    def logits(x: Tensor) -> Tensor:
        if seen[0] is not x:  # under Mixup a batch is asked about twice, once for each of its labels
            with autocast(device, precision):
                seen[:] = x, net(x)[0].float()
        return seen[1]

    return logits
