"""A neural network trained to a proven optimum: tumours from cell images (Wolberg et al., 1995).

Thirty measurements of the cell nuclei in a fine-needle aspirate say whether a tumour is benign. Two
thirds of the 569 patients train the network; the certificate bounds how far its training objective
is above the least that any network with these activation patterns has. Needs scikit-learn.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastopt

X, benign = load_breast_cancer(return_X_y=True)
X, X_test, benign, benign_test = train_test_split(
    X, benign, test_size=1 / 3, random_state=0, stratify=benign
)
scale = StandardScaler().fit(X)
y = np.where(benign, 1.0, -1.0)
result = fastopt.admm_relu(
    scale.transform(X), y, loss="logistic", beta=1.0, gates=64, gap_tol=1e-4, rng=0
)
accuracy = np.mean((result.predict(scale.transform(X_test)) > 0).ravel() == benign_test)
linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, benign)

print(result.message)
print(f"objective {result.fun:.6f}, proven to be at least {result.dual_fun:.6f}")
print(f"{result.n_neurons} neurons out of {len(result.gates)} patterns")
print(f"accuracy on {len(benign_test)} other patients: {accuracy:.3f}")
print(f"a logistic regression: {linear.score(X_test, benign_test):.3f}")
