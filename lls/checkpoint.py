"""What last.pt holds: enough to go on after an epoch as if nothing had happened."""

import torch
from torch import nn

from lls.method import Method
from lls.runs import Run


def state_of(
    net: nn.Module,
    method: Method,
    optimizer: torch.optim.Optimizer | None,
    rows: list[dict],
    classes: list[str],
    commits: list[str | None],
    compute: list[dict],
) -> dict:
    """Tensors and plain values only. optimizer: None when the run is finished. commits: of the code that trained it,
    one for each time that it was started under another. compute: how its epochs were computed (lls.schema.Compute)."""
    random, device = {"cpu": torch.get_rng_state()}, _device(net)
    if device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state(device)
    state = {
        "network": net.state_dict(),
        "method": method.state_dict(),
        "random": random,
        "rows": rows,
        "classes": classes,
        "commits": commits,
        "compute": compute,
    }
    return state | ({"optimizer": optimizer.state_dict()} if optimizer else {})


def resume(run: Run, net: nn.Module, method: Method, optimizer: torch.optim.Optimizer) -> tuple[list, list, list]:
    """Put everything back as it was after the last finished epoch. Returns the rows, the commits and how the epochs
    were computed until then."""
    state = run.restore()
    if state is None:
        return [], [], []
    net.load_state_dict(state["network"])
    method.load_state_dict(state["method"])
    if "optimizer" in state:
        optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"]["cpu"])
    if "cuda" in state["random"] and _device(net).type == "cuda":
        torch.cuda.set_rng_state(state["random"]["cuda"], _device(net))
    return state["rows"], state["commits"], state.get("compute", [])  # older versions have none


def _device(net: nn.Module) -> torch.device:
    """Where dropout draws."""
    return next(net.parameters()).device
