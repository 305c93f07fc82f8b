"""What sets the methods apart, checked on their losses and gradients; the golden values are in test_golden.py."""

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from lls.config.assemble import options
from lls.config.compose import compose
from lls.losses.divergences import entropy
from lls.methods.base import Batch
from lls.methods.flsd import FLSD
from lls.methods.focal import Focal
from lls.methods.kd import KD
from lls.methods.lls import LLS
from lls.methods.lls_topn import LLSTopN
from lls.methods.ls import LS
from lls.methods.lspp import LSPP
from lls.methods.ols import OLS
from lls.methods.onehot import OneHot
from lls.methods.tfkd_reg import TFKDReg
from lls.methods.tfkd_self import TFKDSelf
from lls.methods.zipf import Zipf, ranks, votes
from lls.runs.run import Run
from lls.training.build import build_method
from lls.training.checkpoint import save
from lls.training.execute import execute

ROOT = Path(__file__).resolve().parent.parent


def case(k=7, b=16, seed=0, spread=2.0):
    g = torch.Generator().manual_seed(seed)
    z = spread * torch.randn(b, k, generator=g, dtype=torch.float64)
    return z.requires_grad_(), torch.randint(k, (b,), generator=g)


def gradient(loss, z):
    return torch.autograd.grad(loss, z)[0]


def taught(method, cfg):
    """A method with a teacher, if it is to have one: Q is all zeros, a network answers with the images themselves."""
    if "teacher" in cfg:
        method.set_teacher(torch.zeros(10, 10) if "q" in cfg else lambda x: x)
    return method


# -- every method ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", options("method"))
def test_every_method_serves_in_anyones_loop(option):
    """method(logits, y): a scalar, and finite gradients to the logits and to what it learns, at gaps of 10^4 too."""
    cfg = compose([f"method={option}"]).method
    method = taught(build_method(cfg, 10), cfg)
    y = torch.arange(20) % 10
    for spread in (1.0, 1e4):
        z = (spread * torch.randn(20, 10, generator=torch.Generator().manual_seed(0))).requires_grad_()
        loss = method(z, y, x=z.detach().flip(0))  # the teacher answers with the images themselves
        assert loss.shape == ()
        assert loss.dtype == torch.float32
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(z.grad).all()
        assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)
        method.end_epoch()
    assert torch.equal(method(z.bfloat16(), y, x=z.bfloat16()).isfinite(), torch.tensor(True))


@pytest.mark.parametrize("augment", ["mixup", "cutmix"])
@pytest.mark.parametrize("option", [o for o in options("method") if o.count("_") < 2])
def test_every_method_trains_with_mixed_images_in_bf16_and_resumes(option, augment, overrides, monkeypatch):
    """Two epochs on digits, the second after a stop; teachers are trained on the way."""
    line = [f"method={option}", f"augment={augment}", "train.epochs=2", "train.batch_size=256", *overrides]
    # bf16 is slow on most CPUs: half of the images
    line += ["machine.precision=bf16", "dataset.subset=samples"] if augment == "cutmix" else []
    run = Run(compose(line))

    def stop(of, state):
        save(of, state)
        if of.id == run.id and len(state["rows"]) == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("lls.training.loop.save", stop)
        with pytest.raises(KeyboardInterrupt):
            execute(run)
    result = execute(run)
    assert result["epochs"] == 2
    assert math.isfinite(result["loss"])


@pytest.mark.parametrize("option", ["kd", "lls_st", "tfkd_self"])
def test_a_method_without_its_teacher_says_so(option):
    method = build_method(compose([f"method={option}"]).method, 10)
    with pytest.raises(RuntimeError, match="no teacher"):
        method(torch.zeros(2, 10), torch.tensor([0, 1]), x=torch.zeros(2, 1, 32, 32))


# -- one by one --------------------------------------------------------------------------------------------------------


def test_focal_without_focus_is_cross_entropy():
    z, y = case()
    torch.testing.assert_close(Focal(7, gamma=0.0)(z, y), F.cross_entropy(z, y))
    torch.testing.assert_close(gradient(Focal(7, gamma=0.0)(z, y), z), gradient(F.cross_entropy(z, y), z))


def test_focal_gradient_in_closed_form():
    z, y = case()
    p = z.detach().softmax(-1).gather(1, y[:, None])
    w = (1 - p) ** 3 - 3 * p * (1 - p) ** 2 * p.log()
    want = (z.detach().softmax(-1) - F.one_hot(y, 7)) * w / len(y)
    torch.testing.assert_close(gradient(Focal(7)(z, y), z), want, rtol=1e-9, atol=1e-12)


def test_focal_below_gamma_one_has_a_gradient_where_the_class_is_certain():
    z = torch.tensor([[200.0, 0.0]], requires_grad=True)
    assert torch.isfinite(gradient(Focal(2, gamma=0.5)(z, torch.tensor([0])), z)).all()


@pytest.mark.parametrize(("p", "gamma"), [(0.19, 5.0), (0.2, 3.0), (0.5, 3.0), (0.9, 3.0)])
def test_flsd_53_looks_harder_at_what_is_below_a_fifth(p, gamma):
    log_p = torch.tensor([p], dtype=torch.float32).log()
    assert FLSD(3).exponent(log_p).item() == gamma or abs(log_p.exp().item() - 0.2) < 1e-7


@pytest.mark.parametrize(("k", "t", "a", "m"), [(100, 20.0, 0.1, 100.0), (100, 40.0, 0.95, 1.0), (10, 20.0, 0.1, None)])
def test_tfkd_reg_is_label_smoothing_scaled(k, t, a, m):
    """Its gradient is w times that of label smoothing at an alpha of its own; with the official setting of ResNet-18 on
    CIFAR-100, w = 1 and alpha is 0.09995."""
    z, y = case(k)
    u_off, u_on = 0.01 / (k - 1), 0.99
    q_off = math.exp(u_off / t) / (math.exp(u_on / t) + (k - 1) * math.exp(u_off / t))
    weight = a * (k if m is None else m) / k
    w = (1 - a) + weight
    alpha = k * weight * q_off / w
    ours = gradient(TFKDReg(k, t, a, m)(z, y), z)
    torch.testing.assert_close(ours, w * gradient(LS(k, alpha)(z, y), z), rtol=1e-9, atol=1e-12)
    if (k, t, a, m) == (100, 20.0, 0.1, 100.0):
        assert w == pytest.approx(1)
        assert alpha == pytest.approx(0.1, abs=6e-5)


def test_tfkd_reg_as_in_the_paper_tempers_the_student():
    z, y = case()
    q = torch.full((16, 7), 0.01 / 6, dtype=torch.float64).scatter(1, y[:, None], 0.99).div(20).softmax(-1)
    log_p = (z / 20).log_softmax(-1)
    want = 0.9 * F.cross_entropy(z, y) + 0.1 * (q * (q.log() - log_p)).sum(-1).mean()
    torch.testing.assert_close(TFKDReg(7, form="paper")(z, y), want)


@pytest.mark.parametrize("make", [lambda t: KD(7, t), lambda t: TFKDSelf(7, t, a=1.0, temperature=6.0)])
def test_a_student_equal_to_its_teacher_has_nothing_to_learn(make):
    z, y = case()
    assert gradient(make(lambda x: z.detach())(z, y), z).abs().max() < 1e-15


def test_a_teacher_is_no_part_of_the_method():
    net = torch.nn.Linear(7, 7)
    method = KD(7, lambda x: net(x))
    assert not list(method.parameters())
    assert not method.state_dict()
    method.train()
    method.eval()
    assert net.training


def test_lspp_gives_the_true_class_exactly_the_rest():
    z, y = case()
    method = LSPP(7, alpha=0.3).double()
    q = method.q_logits().softmax(-1)
    assert not q.diagonal().any()
    assert torch.allclose(q.sum(-1), torch.ones(7, dtype=torch.float64))
    loss = method(z, y)
    p = z.detach().softmax(-1)
    t = 0.7 * F.one_hot(y, 7).double() + 0.3 * q[y]
    want = 0.5 * (-(p * (t + 1e-6).log()).sum(-1) - (t * (p + 1e-6).log()).sum(-1)).mean()
    torch.testing.assert_close(loss, want)


# -- OLS ---------------------------------------------------------------------------------------------------------------


def test_ols_of_cifar_begins_with_half_of_the_cross_entropy():
    z, y = case()
    torch.testing.assert_close(OLS(7)(z, y), 0.5 * F.cross_entropy(z, y))
    fine = OLS(7, init="uniform", weights=[1.0, 1.0], cap=0.88).double()
    uniform = -z.log_softmax(-1).mean()
    torch.testing.assert_close(fine(z, y), F.cross_entropy(z, y) + uniform)


def test_ols_rows_are_the_mean_prediction_of_samples_that_were_right():
    method = OLS(7).double()
    for epoch in range(3):
        z, y = case(b=64, seed=epoch)
        y[y == 3] = 4  # class 3 is absent
        for part in (slice(0, 40), slice(40, 64)):
            method(z[part], y[part])
        method.end_epoch()
        p = z.detach().softmax(-1)
        for c in range(7):
            right = (y == c) & (p.argmax(-1) == c)
            want = p[right].mean(0) if right.any() else torch.full((7,), 1 / 7, dtype=torch.float64)
            torch.testing.assert_close(method.targets[c], want)
        torch.testing.assert_close(method.targets.sum(-1), torch.ones(7, dtype=torch.float64))
        assert not method.sums.any()
        assert not method.counts.any()


def test_ols_gathers_in_training_only():
    method = OLS(7).eval()
    method(*case())
    assert not method.counts.any()


def test_ols_cap_keeps_a_row_that_is_sure_enough():
    z = torch.tensor([[9.0, 0, 0], [0, 1.0, 0]], dtype=torch.float64)
    method = OLS(3, init="uniform", cap=0.88).double()
    method(z, torch.tensor([0, 1]))
    method.end_epoch()
    sure, unsure = method.targets[0].clone(), method.targets[1].clone()
    assert sure.max() > 0.88 > unsure.max()
    method(z * torch.tensor([[0.5], [2.0]], dtype=torch.float64), torch.tensor([0, 1]))
    method.end_epoch()
    assert torch.equal(method.targets[0], sure)
    assert not torch.equal(method.targets[1], unsure)
    method.end_epoch()  # an epoch without a sample that was right
    torch.testing.assert_close(method.targets, torch.full((3, 3), 1 / 3, dtype=torch.float64))


# -- Zipf --------------------------------------------------------------------------------------------------------------


def test_zipf_leaves_the_true_class_alone():
    z, y = case()
    to_z = gradient(Zipf(7).term(z, y, z.detach()), z)
    assert not to_z.gather(1, y[:, None]).any()
    assert to_z.sum(-1).abs().max() < 1e-15


def test_zipf_of_votes_all_on_the_true_class_is_uniform():
    z, y = case()
    scores = 16.0 * F.one_hot(y, 7).double()
    log_p = z.masked_fill(F.one_hot(y, 7).bool(), -torch.inf).log_softmax(-1)
    others = log_p.masked_fill(F.one_hot(y, 7).bool(), 0).sum(-1) / 6
    torch.testing.assert_close(Zipf(7).term(z, y, scores), (-math.log(6) - others).mean())


def test_ranks_are_those_of_competition():
    assert ranks(torch.tensor([[3.0, 5.0, 0.0, 3.0, 0.0]])).tolist() == [[2, 1, 4, 2, 4]]
    assert votes(torch.tensor([[1, 1, 3]]), torch.zeros(1, 4)).tolist() == [[0, 2, 0, 1]]


def test_zipf_ranks_by_location_only_where_the_head_pools_globally():
    for network, size, by_location in (("resnet18", 32, True), ("lenet", 32, False), ("alexnet", 32, False)):
        from lls.training.build import build_network

        net = build_network(compose([f"network={network}"]).network, 10, 3, size)
        x, y = torch.randn(2, 3, size, size), torch.tensor([1, 2])
        logits, features = net(x)
        method = Zipf(10)
        method.prepare(net)
        scores = method.scores(Batch(logits, y, x, features, net))
        assert torch.equal(scores, logits) != by_location
        assert not by_location or torch.equal(scores.sum(-1), torch.full((2,), 64.0))  # a 4x4 map, doubled


# -- LLS for many classes ----------------------------------------------------------------------------------------------


def trained_topn(k=9, n=4, seed=0, alpha=0.1, **keys):
    """Candidates chosen from one batch of confusions, and a Q that is no longer uniform."""
    method = LLSTopN(k, n=n, alpha=alpha, **keys).double()
    z, y = case(k, 64, seed)
    method(z, y)
    method.end_epoch()
    with torch.no_grad():
        method.q.normal_(generator=torch.Generator().manual_seed(seed))
    return method


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("terms", ["lls", "no_rce", "reverse_kl", "fce_only"])
def test_topn_is_lls_with_the_same_vectors(alpha, terms):
    """The loss and the gradient to the logits are LLS's at the Q that it stands for; N = K is LLS altogether."""
    for n in (1, 4, 9):
        method = trained_topn(n=n, alpha=alpha, terms=terms)
        dense = LLS(9, alpha=alpha, terms=terms).double()
        q = method.q_logits()
        torch.testing.assert_close(q.softmax(-1).sum(-1), torch.ones(9, dtype=torch.float64))
        with torch.no_grad():
            dense.q.copy_(q)
        z, y = case(9, seed=5)
        torch.testing.assert_close(method(z, y), dense(z, y), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(gradient(method(z, y), z), gradient(dense(z, y), z), rtol=1e-9, atol=1e-12)


def test_topn_at_n_equal_k_has_the_gradients_of_lls_from_the_first_step():
    method, dense = LLSTopN(7, n=7).double(), LLS(7).double()
    z, y = case()
    method(z, y).backward()
    dense(z, y).backward()
    back = torch.zeros_like(dense.q).scatter(1, method.candidates.long(), method.q.grad)
    torch.testing.assert_close(back, dense.q.grad, rtol=1e-9, atol=1e-12)


def test_topn_begins_as_label_smoothing_and_leaves_q_alone_until_it_has_candidates():
    method, ls = LLSTopN(9, n=3, terms="fce_only", scale=1.0).double(), LS(9, 0.1)
    z, y = case(9)
    loss = method(z, y)
    torch.testing.assert_close(loss, ls(z, y))
    loss.backward()
    assert method.q.grad is None
    method.end_epoch()
    method(z, y).backward()
    assert method.q.grad.abs().sum() > 0


def test_topn_keeps_what_the_network_confuses_a_class_with():
    """With a buffer so small that it is merged all the time, the candidates are still those of the full sums."""
    k, n = 12, 4
    method = LLSTopN(k, n=n, gather=2).double()
    total = torch.zeros(k, k, dtype=torch.float64)
    likes = 3 * torch.randn(k, k, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    held = 0
    for epoch in range(2):
        for batch in range(20):
            g = torch.Generator().manual_seed(100 * epoch + batch)
            y = torch.randint(k - 1, (32,), generator=g)  # the last class never comes
            z = likes[y] + 0.1 * torch.randn(32, k, generator=g, dtype=torch.float64)
            method(z, y)
            held = max(held, method.pairs.held)
            total.index_add_(0, y, z.softmax(-1))
        assert method.gathering
        method.end_epoch()
    assert not method.gathering
    assert held <= 2 * k * n
    total.fill_diagonal_(-1)
    for c in range(k - 1):
        assert method.candidates[c, 0] == c
        assert set(method.candidates[c, 1:].tolist()) == set(total[c].topk(n - 1).indices.tolist())
    assert sorted(method.candidates[k - 1].tolist()) == [0, 1, 2, k - 1]


def test_topn_gathering_survives_a_checkpoint():
    z, y = case(9, 64)
    whole, stopped, resumed = (LLSTopN(9, n=3, gather=2).double() for _ in range(3))
    for method in (whole, stopped):
        method(z, y)
        method.end_epoch()
    resumed.load_state_dict(stopped.state_dict())
    other = case(9, 64, seed=1)
    for method in (whole, resumed):
        method(*other)
        method.end_epoch()
    assert torch.equal(whole.candidates, resumed.candidates)
    assert not resumed.gathering


def test_topn_for_21841_classes_needs_a_thousandth_of_the_memory():
    k, n = 21_841, 32
    method = LLSTopN(k, n=n)
    held = sum(t.numel() * t.element_size() for t in (*method.parameters(), *method.buffers()))
    trained = held + 2 * method.q.numel() * 4  # the gradient and the momentum of Q
    assert trained < 0.01 * 3 * 4 * k**2


# -- adding one --------------------------------------------------------------------------------------------------------


def test_a_method_is_two_new_files(tmp_path):
    """In a copy of the tree: lls/methods/toy.py and configs/method/toy.yaml, and nothing else is edited."""
    for name in ("lls", "configs", "train.py"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    (tmp_path / "configs/method/toy.yaml").write_text("# A toy.\nname: toy\npower: 2.0\n")
    (tmp_path / "lls/methods/toy.py").write_text(
        "import torch.nn.functional as F\n"
        "from lls.methods.base import Batch, Method\n\n\n"
        "class Toy(Method):\n"
        "    def __init__(self, num_classes, power=2.0):\n"
        "        super().__init__()\n"
        "        if power <= 0:\n"
        "            raise ValueError(f'power={power}: must be above 0')\n"
        "        self.power = power\n\n"
        "    def loss(self, batch: Batch):\n"
        "        return F.cross_entropy(batch.logits, batch.y) ** self.power\n"
    )

    wrong = {
        "force": "name: toy\nforce: 1\n",
        "nameless": "power: 2.0\n",
        "lost": "name: tou\n",
    }
    teacher = (ROOT / "configs/method/tfkd_self.yaml").read_text().partition("teacher:")[2]
    wrong["taught"] = f"name: toy\npower: 2.0\nteacher:{teacher}"
    for name, text in wrong.items():
        (tmp_path / f"configs/method/{name}.yaml").write_text(text)

    def python(*command):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, *command]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        ).stdout

    assert "done: top-1" in python(
        "train.py", "machine.wandb=disabled", "machine.device=cpu", "method=toy", "train.epochs=1"
    )
    assert len(list(tmp_path.glob("outputs/runs/digits-lenet-toy-*/result.json"))) == 1
    script = (
        "import sys\nfrom lls.config.compose import compose\nfrom lls.errors import UserError\n"
        "from lls.training.build import build_method\n"
        "for line in sys.argv[1:]:\n"
        "    try:\n        build_method(compose(line.split()).method, 10)\n"
        "    except UserError as error:\n        print(error)\n"
    )
    lines = ["method=toy method.power=x", "method=toy method.power=0", *(f"method={name}" for name in wrong)]
    assert python("-c", script, *lines).splitlines() == [
        "method.power=x: must be a number, as 2.0 is",
        "method.power=0: must be above 0",
        "method.force: lls.methods.toy.Toy takes no such argument",
        "method: its yaml in configs/method has no key name",
        "method.name=tou: there is no lls/methods/tou.py",
        "method.teacher: Toy of lls/methods/toy.py has no set_teacher",
    ]


def test_entropy_of_a_uniform_distribution():
    assert entropy(torch.full((5,), math.log(1 / 5))).item() == pytest.approx(math.log(5))
    assert OneHot(5)(torch.zeros(1, 5), torch.tensor([0])).item() == pytest.approx(math.log(5))


@pytest.mark.parametrize("spread", [1, 30, 1000])
@pytest.mark.parametrize("alpha", [1e-3, 0.1, 1.0])
@pytest.mark.parametrize(("k", "n"), [(9, 3), (50, 8), (9, 8), (9, 1)])
def test_topn_in_closed_form_is_its_four_terms(k, n, alpha, spread):
    g = torch.Generator().manual_seed(k + n)
    method = LLSTopN(k, n=n, alpha=alpha).double()
    method.gathering = False
    with torch.no_grad():
        method.q.normal_(generator=g).mul_(spread)
    z = (spread * torch.randn(6, k, generator=g, dtype=torch.float64) + 5).requires_grad_()
    y = torch.randint(k, (6,), generator=g)
    terms = method.terms(z.log_softmax(-1), F.embedding(y, method.q), method.candidates[y].long())
    want, found = 0.5 * sum(term.mean() for term in terms), method(z, y)
    torch.testing.assert_close(found, want, rtol=1e-9, atol=1e-12)
    of = (z, method.q)
    for ours, exact in zip(torch.autograd.grad(found, of), torch.autograd.grad(want, of), strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-9, atol=1e-9)


STATIC = [
    "flsd",
    "focal",
    "kd",
    "lls",
    "lls_st",
    "lls_topn",
    "ls",
    "lspp",
    "ols",
    "onehot",
    "tfkd_reg",
    "tfkd_self",
    "zipf",
]


class Captured(TorchFunctionMode):
    """What a CUDA graph can record: nothing is made of Python's numbers on the CPU and copied from there."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        assert function not in (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor), "copied from the CPU"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "option",
    [
        *(*options("method"), "lls method.terms=no_rce", "lls_st method.objective=symmetric_kl"),
        *("lls_topn method.n=4", "lls_topn method.n=4 method.terms=no_rce", "lls_topn method.n=10"),
        *("zipf method.mask=true", "tfkd_reg method.form=paper", "focal method.reduction=sum"),
    ],
)
def test_static_methods_neither_ask_the_device_nor_copy_to_it(option):
    """On PyTorch's meta device, where nothing has a value that could be asked for."""
    cfg = compose(f"method={option}".split()).method
    method = taught(build_method(cfg, 10), cfg).to("meta")
    method.gathering = False  # lls_topn's first epochs, in which it is not static
    if cfg.name not in STATIC and not method.cuda_graph_safe:
        pytest.skip("a method of one's own, which need not be")
    assert method.cuda_graph_safe
    z, y = torch.empty(8, 10, device="meta", requires_grad=True), torch.empty(8, dtype=torch.int64, device="meta")
    with Captured():
        method.loss(Batch(z, y, z.detach())).backward()
    assert z.grad.is_meta
