"""The classifier head: standardise the embedding, then one linear layer."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class LinearHead(nn.Module):
    """Fine-class logits from a frozen projector's embedding.

    Standardisation belongs to the head, because it is fitted on the training animals alone. Its
    statistics are a collection of their own, `scaler`: never trained by gradients.
    """

    num_classes: int

    @nn.compact
    def __call__(self, embedding: Float[Array, "n d"]) -> Float[Array, "n classes"]:
        """Returns logits; with fresh variables it neither shifts nor scales the embedding."""
        width = embedding.shape[-1]
        mean = self.variable("scaler", "mean", jnp.zeros, (width,), jnp.float32)
        std = self.variable("scaler", "std", jnp.ones, (width,), jnp.float32)
        scaled = (embedding - mean.value) / std.value
        # The published probe draws its weights with a standard deviation of 0.01.
        init = nn.initializers.normal(0.01)
        return nn.Dense(self.num_classes, kernel_init=init, name="linear")(scaled)
