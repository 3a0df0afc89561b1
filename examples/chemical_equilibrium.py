"""Chemical equilibrium where atoms are conserved: hydrazine burns in oxygen (White et al., 1958).

Ten species of hydrogen, nitrogen and oxygen at 3500 K and 51 atmospheres settle where Gibbs' free
energy is least; each element keeps its number of atoms. Amounts are positive by x = exp(y). The
multipliers are the chemical potentials of the elements. Best known energy: -47.761091.
"""

import numpy as np
from scipy.optimize import NonlinearConstraint

import fastopt

species = ["H", "H2", "H2O", "N", "N2", "NH", "NO", "O", "O2", "OH"]
standard = np.array(  # free energy of each species, in units of R T
    [-6.089, -17.164, -34.054, -5.914, -24.721, -14.986, -24.100, -10.708, -26.662, -22.179]
)
atoms = np.array(
    [
        [1, 2, 2, 0, 0, 1, 0, 0, 0, 1],  # hydrogen
        [0, 0, 0, 1, 2, 1, 1, 0, 0, 0],  # nitrogen
        [0, 0, 1, 0, 0, 0, 1, 1, 2, 1],  # oxygen
    ]
)
available = np.array([2.0, 1.0, 1.0])


def potentials(x):
    return standard + np.log(x / x.sum())


def energy(y):
    x = np.exp(y)
    return x @ potentials(x)


def gradient(y):
    x = np.exp(y)
    return x * potentials(x)


balance = NonlinearConstraint(
    lambda y: atoms @ np.exp(y), available, available, jac=lambda y: atoms * np.exp(y)
)
result = fastopt.sketch_newton(
    energy, np.full(10, np.log(0.1)), jac=gradient, constraints=balance, tol=1e-10
)
amounts = np.exp(result.x)
print(result.message)
print(f"free energy {result.fun:.6f} (best known -47.761091), {result.nit} iterations")
for name, amount in zip(species, amounts, strict=True):
    print(f"{name:>4} {amount:9.6f} mol")
print("potentials of H, N, O:", *(f"{-v:.4f}" for v in result.v[0]))
