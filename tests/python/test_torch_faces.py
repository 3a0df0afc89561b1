"""from_torch with second derivatives, and networks trained by their flattened parameters."""

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der, rosen_hess

from fastopt import cbo, minimize
from fastopt.torch import from_module, from_torch

torch = pytest.importorskip("torch")


def rosenbrock(x):
    return (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(dim=1)


POINT = np.array([0.3, -1.2, 2.0])


def test_derivatives_are_those_of_the_function():
    f = from_torch(rosenbrock)
    assert f.fun(POINT) == pytest.approx(rosen(POINT), rel=1e-14)
    np.testing.assert_allclose(f.jac(POINT), rosen_der(POINT), rtol=1e-12)
    np.testing.assert_allclose(f.hess(POINT), rosen_hess(POINT), rtol=1e-12)
    direction = np.array([1.0, 2.0, -0.5])
    np.testing.assert_allclose(f.hessp(POINT, direction), rosen_hess(POINT) @ direction, rtol=1e-12)
    np.testing.assert_allclose(f.batched(np.stack([POINT, 0 * POINT])), [rosen(POINT), 2])


@pytest.mark.parametrize("curvature", ["hessp", "hess"])
def test_sketch_newton_takes_them(curvature):
    f = from_torch(rosenbrock)
    line = {"type": "eq", "fun": lambda x: x.sum() - 3, "jac": lambda x: np.ones(3)}
    result = minimize(
        f.fun,
        [0.5, 0.5, 2.0],
        method="sketch-newton",
        jac=f.jac,
        constraints=line,
        **{curvature: getattr(f, curvature)},
    )
    assert result.success
    np.testing.assert_allclose(result.x, 1, atol=1e-7)


X = torch.linspace(-1, 1, 40)[:, None]
Y = torch.abs(X)


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(1, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1, bias=False)
    )


def loss(net):
    return ((net(X) - Y) ** 2).mean()


def test_a_network_is_trained_by_cbo():
    """|x| is exactly two ReLUs, which gradient descent from most starts does not find."""
    net = network()
    before = [one.detach().clone() for one in net.parameters()]
    f = from_module(net, loss)
    assert f.dim == 6 == f.x0.size
    np.testing.assert_allclose(f.x0, torch.cat([one.reshape(-1) for one in before]).numpy())
    assert f.fun(f.x0) == pytest.approx(float(loss(net).detach()), rel=1e-6)
    result = cbo(f, [(-3, 3)] * f.dim, rng=1, f_target=1e-6)
    assert result.success and result.fun <= 1e-6
    assert all((a == b).all() for a, b in zip(before, net.parameters(), strict=True))
    assert f.load(result.x) is net
    assert float(loss(net).detach()) == pytest.approx(result.fun, abs=1e-9)
    assert all(one.requires_grad for one in net.parameters())


def test_gradients_of_a_module_are_those_of_autograd():
    net = network()
    f = from_module(net, loss)
    loss(net).backward()
    wanted = torch.cat([one.grad.reshape(-1) for one in net.parameters()]).numpy()
    np.testing.assert_allclose(f.jac(f.x0), wanted, rtol=1e-5, atol=1e-7)
    rows = np.stack([f.x0, f.x0 + 0.1])
    by_chunks = from_module(net, loss, chunk_size=1)
    np.testing.assert_allclose(by_chunks.batched(rows), f.batched(rows), rtol=1e-6)


def test_mistakes_are_named():
    with pytest.raises(TypeError, match=r"module must be a torch\.nn\.Module; got int"):
        from_module(3, loss)
    with pytest.raises(TypeError, match="loss must be callable"):
        from_module(network(), 3)
    with pytest.raises(ValueError, match="module must have parameters"):
        from_module(torch.nn.ReLU(), loss)
    with pytest.raises(ValueError, match="x must hold 6 parameters"):
        from_module(network(), loss).load(np.zeros(5))
    with pytest.raises(TypeError, match="fn must be callable"):
        from_torch(None)
