"""to_module gives the network of a result."""

import numpy as np
import pytest

from fastopt import admm_relu
from fastopt.torch import to_module

X = np.random.default_rng(0).standard_normal((40, 3))
Y = np.column_stack([np.abs(X[:, 0]), X[:, 1]])


def test_gated_has_no_module():
    with pytest.raises(ValueError, match="gated"):
        to_module(admm_relu(X, Y, beta=1.0, gates=5, method="gated"))


@pytest.mark.parametrize("beta", [0.1, 1e6])
def test_module_equals_predict(beta):
    torch = pytest.importorskip("torch")
    result = admm_relu(X, Y, beta=beta, gates=8, rng=1, standardize=True)
    module = to_module(result)
    out = module(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(out, result.predict(X), atol=1e-12)
