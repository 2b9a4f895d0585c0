"""
The curves of named losses
==========================

What a loss does to a network is its gradient. Here are four losses that have names, against the output that the network
gives to the right class.
"""

from lossmith import find
from lossmith.report import attraction_curve, loss_shape, plot_explanation, plot_figure3, plot_losses, rule_curve

CLASSES = 10
losses = [find(name, CLASSES) for name in ("cross-entropy", "focal:2", "mae", "gce:0.7")]
shapes = plot_losses([loss_shape(loss, CLASSES) for loss in losses])

# %%
# Cross-entropy pulls hardest at samples that the network gets wrong. The mean absolute error nearly ignores them, which
# helps if their labels are wrong and makes it slow if they are right. Generalized cross-entropy lies between the two.
#
# The theory puts four more curves beside these: how strongly a loss attracts to zero training error, exactly and as the
# paper printed it, its learning rule, the loss, and its gradient.

page = plot_explanation(
    [attraction_curve(loss, CLASSES) for loss in losses],
    [rule_curve(loss, CLASSES) for loss in losses],
    [loss_shape(loss, CLASSES) for loss in losses],
)

# %%
# Below zero a loss pushes away from zero training error. Baikal does, close to it: that is its regularization.

paper = [find(name, CLASSES) for name in ("mse", "baikal", "paper/mnist", "paper/allcnnc")]
figure3 = plot_figure3([[attraction_curve(loss, CLASSES)] for loss in paper])
