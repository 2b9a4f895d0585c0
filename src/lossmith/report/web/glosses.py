"""What the names of flags mean, for those who did not choose them."""

# What a search tries, by --space.
SPACES = {
    "residual": "cross-entropy plus a polynomial of the probability that the network gives a class",
    "canonical": "a polynomial of third order of the probability that the network gives a class",
    "taylor": "a polynomial of the probability that the network gives a class, as in TaylorGLO",
    "smoothed-mae": "cross-entropy with label smoothing plus mean absolute error",
    "residual-schedule": "cross-entropy plus a polynomial that changes during the training",
    "noise-robust": "cross-entropy plus a polynomial and known losses for noisy labels",
    "expression": "a formula of any form",
    "expression-residual": "cross-entropy plus a formula of any form",
}
# How it chooses them, by --engine.
ENGINES = {
    "cma": "drawn around the best ones so far by CMA-ES",
    "genetic": "each bred from better ones by genetic programming",
}
# How networks are trained: how values of --training begin.
TRAININGS = {
    "sequential": "one after another",
    "vmap": "all of a generation in one program",
    "mlp": "all of a generation in one program for multilayer perceptrons",
    "cnn": "all of a generation in one program for convolutional networks",
    "population": "all of a generation in one program",
}
