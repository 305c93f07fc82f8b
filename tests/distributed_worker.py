"""What each process of torchrun does for test_recipes.py, in a folder with the recipes. It writes its results there."""

import contextlib
import copy
import io
import os
import runpy

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard

from lls import LLS


def q_and_output(script):
    """Run a script with a `model`. Return the Q of its loss, and what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        model = runpy.run_path(script, run_name="__main__")["model"]
    return model.loss.q_logits(), output.getvalue()


def steps_of_fsdp_and_the_plain_loop():
    """Two steps. Each process of FSDP has one half of the batch, and the plain loop all of it."""
    from digits import NetWithLoss, make_net, train

    torch.manual_seed(0)
    plain = NetWithLoss(make_net(), LLS(num_classes=10))
    torch.nn.init.normal_(plain.loss.q)
    sharded = fully_shard(copy.deepcopy(plain))
    results = {"local rows": len(sharded.loss.q.to_local())}
    try:
        sharded.loss(torch.zeros(2, 10), torch.zeros(2, dtype=torch.long))
    except TypeError as error:
        results["error outside"] = str(error)
    optimizers = [torch.optim.SGD(model.parameters(), lr=1, momentum=0.9) for model in (plain, sharded)]
    for step in range(2):
        x, y = train[step * 64 : (step + 1) * 64]
        expected = plain(x, y)["loss"]
        loss = sharded(x[dist.get_rank() :: 2], y[dist.get_rank() :: 2])["loss"]
        expected.backward()
        loss.backward()
        mean = loss.detach().clone() / 2
        dist.all_reduce(mean)
        results[f"loss {step}"] = mean, expected.detach()
        results[f"gradient {step}"] = sharded.loss.q.grad.full_tensor(), plain.loss.q.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        results[f"q {step}"] = sharded.loss.q.full_tensor().detach(), plain.loss.q_logits().clone()
    return results


if __name__ == "__main__":
    rank = int(os.environ["RANK"])
    results = {"ddp": q_and_output("ddp.py")}
    # A second group, with its own keys in torchrun's store, because that keeps the addresses of the first group.
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    dist.init_process_group("gloo", store=dist.PrefixStore("second", store), rank=rank, world_size=2)
    results["loss outside"] = q_and_output("loss_outside.py")
    results["fsdp"] = steps_of_fsdp_and_the_plain_loop()
    dist.destroy_process_group()
    torch.save(results, f"{rank}.pt")
    # Without Python's exit, which rarely aborts: "terminate called without an active exception" (PyTorch 2.11).
    os._exit(0)
