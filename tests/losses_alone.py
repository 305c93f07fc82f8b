"""Use all that lls/__init__.py exports, without the packages of the experiments. tests/test_package.py runs this file.

Arguments: the folder of the installed package, and the top-level modules that this process shall not have.
Prints the CPU seconds that the import of the losses takes after PyTorch's.
"""

import os
import sys
import tempfile
import time
from importlib.machinery import PathFinder

FOLDER, *MISSING = sys.argv[1:]


class SmallEnvironment(PathFinder):
    """Finds no module of MISSING, as if it were not installed."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] in MISSING else super().find_spec(fullname, path, target)


sys.meta_path[:] = [SmallEnvironment if finder is PathFinder else finder for finder in sys.meta_path]
sys.path.insert(0, FOLDER)

import lls  # noqa: E402

assert lls.__file__ == os.path.join(FOLDER, "lls", "__init__.py"), lls.__file__
assert "torch" not in sys.modules, "import lls imports torch"

import torch  # noqa: E402


def import_seconds() -> float:
    """Import the losses in a forked process, so that it can be done again. Returns its CPU seconds."""
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        start = time.process_time()
        from lls import LLS, check_q, load_q  # noqa: F401

        os.write(writer, f"{time.process_time() - start}".encode())
        os._exit(0)
    os.waitpid(process, 0)
    os.close(writer)
    with open(reader) as file:
        return float(file.read())


print(min(import_seconds() for _ in range(3)))  # the first one compiles the files

K, B = 5, 8
logits, labels, images = torch.randn(B, K, requires_grad=True), torch.arange(B) % K, torch.randn(B, K)
ARGUMENTS = {"KD": {"teacher": lambda x: x}, "TFKDSelf": {"teacher": lambda x: x}, "LLSST": {"q": torch.eye(K)}}
exported = {name: getattr(lls, name) for name in lls.__all__}
losses = {name: value for name, value in exported.items() if isinstance(value, type) and issubclass(value, lls.Method)}
del losses["Method"]
assert len(losses) >= 13, losses
for name, loss_class in losses.items():
    method = loss_class(K, **ARGUMENTS.get(name, {}))
    (gradient,) = torch.autograd.grad(method(logits, labels, x=images), logits)
    assert gradient.isfinite().all(), name
    assert gradient.any(), name

method = lls.LLS(K, alpha=0.1)
assert lls.check_q(method, torch.optim.SGD(method.parameters(), lr=1.0))
loss = method(logits, labels)
loss.backward()
t = 0.9 * torch.nn.functional.one_hot(labels, K) + 0.1 / K
log_p = logits.log_softmax(-1)
torch.testing.assert_close(loss, ((t - log_p.exp()) * (t.log() - log_p)).sum() / 2 / B)
assert logits.grad.any()
assert method.q.grad.any(1).all()

with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "q.safetensors")
    lls.save_q(path, lls.QMatrix(method.q.grad, list("abcde"), {"dataset": "letters"}))
    q = lls.load_q(path)
assert torch.equal(q.logits, method.q.grad)
assert (q.classes, q.about) == (list("abcde"), {"dataset": "letters"})

imported = {name.partition(".")[0] for name in sys.modules}
assert not imported & set(MISSING), imported & set(MISSING)
