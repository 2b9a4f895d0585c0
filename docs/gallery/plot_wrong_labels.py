"""
Labels that are probably wrong
==============================

One label in ten of these digits was made wrong. Networks that did not learn from an image judge its label, and the most
suspicious ones come first.
"""

import lossmith
from lossmith.report import plot_suspects

found = lossmith.suspects("digits", label_noise=0.1, hidden=[32], epochs=15, folds=3, networks=2, quiet=True)
print(found)

# %%
# The first twelve: the row in the data, the label that it has, and the class that the networks see.

rows = found.rows()[:12]
images = found.folds.source.inputs[[row for row, *_ in rows]].numpy()
sheet = plot_suspects(images, rows)
