"""A criterion for fastai's ``Learner``, which asks its loss what turns logits into probabilities and classes."""

from torch import Tensor

from lossmith.losses import Criterion


class FastaiCriterion(Criterion):
    """A ``Criterion`` that is a ``loss_func`` of fastai; the arguments are the same.

    ``get_preds``, ``predict`` and the pictures of results then have probabilities and classes, as with fastai's own
    losses; with a ``Criterion`` itself they have logits.

    Example:
        >>> import lossmith, torch
        >>> FastaiCriterion(lossmith.focal(2)).activation(torch.zeros(1, 4))
        tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """

    def activation(self, out: Tensor) -> Tensor:
        """Probabilities, the softmax of logits ``[N, K]`` or ``[N, K, d1, …]`` over the classes."""
        return out.softmax(1)

    def decodes(self, out: Tensor) -> Tensor:
        """Class indices ``[N]`` or ``[N, d1, …]`` of logits or probabilities."""
        return out.argmax(1)
