"""Check that an optimizer trains the learned parameters of a loss."""

from torch import nn
from torch.optim import Optimizer


def check_q(method: nn.Module, optimizer: Optimizer) -> bool:
    """Return True if `optimizer` trains all parameters of `method`, and False if `method` has none.

    method: a loss such as LLS, whose Q is a parameter, or a module that contains one.
    Raises ValueError if the optimizer lacks a parameter, or if one is frozen. The loss would then be computed with a Q
    that never changes, and nothing else would say so.
    """
    if not isinstance(method, nn.Module):
        raise TypeError(f"check_q(loss, optimizer): the first argument is a {type(method).__name__}, not a module")
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    parameters = dict(method.named_parameters())
    lacking = [name for name, parameter in parameters.items() if id(parameter) not in trained]
    if lacking:
        raise ValueError(
            f"the optimizer does not train {', '.join(lacking[:3])} of {type(method).__name__}: "
            "pass it [*net.parameters(), *loss.parameters()]"
        )
    frozen = [name for name, parameter in parameters.items() if not parameter.requires_grad]
    if frozen:
        raise ValueError(f"{', '.join(frozen[:3])} of {type(method).__name__} is frozen: set requires_grad to True")
    return bool(parameters)
