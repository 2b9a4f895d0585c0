"""What some training libraries need to call a ``Criterion`` as they call their own losses; none of them is imported.

A criterion works in most libraries as it is; `docs/integrations.md` shows each.
"""

from lossmith.integrations.fastai import FastaiCriterion
from lossmith.integrations.keras import keras_loss, keras_monitor
from lossmith.integrations.transformers import trainer_loss, trainer_metrics

__all__ = ["FastaiCriterion", "keras_loss", "keras_monitor", "trainer_loss", "trainer_metrics"]
