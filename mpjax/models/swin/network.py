"""Video Swin Transformer (arXiv 2106.13230): the projector into the action space.

Serves the weights of its public code, of the Universal Action Space (arXiv 2602.09518) and of
torchvision, which are one architecture under two sets of names (see
`mpjax.models.weights.torch_port`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import linen as nn
from jaxtyping import Array, Float, PRNGKeyArray

from mpjax.models.swin import attention_blocked, scan
from mpjax.models.swin.attention import WindowAttention
from mpjax.models.swin.config import SwinConfig
from mpjax.models.swin.windows import (
    LAYER_NORM_EPSILON,
    pad_to,
    padded_size,
    relative_position_bias,
)


class SwinOutputs(NamedTuple):
    """What `VideoSwin` computes on the way; under `jax.jit`, what is not used costs nothing."""

    patch_embed: Float[Array, "b t h w c"]  # after its LayerNorm
    stages: tuple[Float[Array, "b t h w c"], ...]  # of each stage, before its patch merging
    features: Float[Array, "b t h w d"]  # after the last LayerNorm; float32
    embedding: Float[Array, "b d"]  # mean over t, h, w; float32
    logits: Float[Array, "b classes"] | None  # float32; None without a head


class VideoSwin(nn.Module):
    """Video Swin Transformer, for clips of any length, height and width."""

    config: SwinConfig

    @nn.compact
    def __call__(self, clips: Float[Array, "b t h w 3"], *, train: bool = False) -> SwinOutputs:
        """Maps clips to their embeddings.

        Args:
            clips: RGB, normalised by the means and deviations in `projector.py`.
            train: drops paths at random; needs the rng stream "drop_path".
        """
        config = self.config
        # Factors of all branches, by stage; None where no path is dropped.
        scales: Sequence[Array | None] = [None] * len(config.depths)
        if train and config.drop_path_rate > 0:
            rates = np.linspace(0.0, config.drop_path_rate, sum(config.depths), dtype=np.float32)
            drawn = drop_path_scales(self.make_rng("drop_path"), rates, len(clips))
            scales = jnp.split(drawn, np.cumsum(config.depths[:-1]))
        x = embedded = PatchEmbed(config, name="patch_embed")(clips)
        stages = []
        for stage in range(len(config.depths)):
            if stage > 0:
                x = PatchMerging(config, name=f"stage{stage - 1}_merging")(x)
            x = self._run_stage(stage, x, scales[stage])
            stages.append(x)
        features = _layer_norm("norm", "float32")(x)
        embedding = features.mean(axis=(1, 2, 3))
        logits = None
        if config.num_classes is not None:
            head = nn.Dense(
                config.num_classes,
                kernel_init=nn.initializers.normal(0.01),
                precision=jax.lax.Precision.HIGHEST,
                name="head",
            )
            logits = head(embedding)
        return SwinOutputs(embedded, tuple(stages), features, embedding, logits)

    def _run_stage(
        self, stage: int, x: Float[Array, "b t h w c"], scales: Float[Array, "depth 2 b"] | None
    ) -> Float[Array, "b t h w c"]:
        config = self.config
        options = {"config": config, "num_heads": config.num_heads[stage]}
        names = [f"stage{stage}_block{index}" for index in range(config.depths[stage])]
        looped = 0
        if config.scans(stage) and not self.is_initializing():
            looped = len(names) // 2 * 2
            x = scan.run_pairs(
                [_as_function(SwinBlock(**options, shifted=s, parent=None)) for s in (False, True)],
                [self.variables["params"][name] for name in names[:looped]],
                x,
                None if scales is None else scales[:looped],
                remat=config.remat,
            )
        block_class = nn.remat(SwinBlock) if config.remat else SwinBlock
        for index in range(looped, len(names)):
            block = block_class(**options, shifted=index % 2 == 1, name=names[index])
            x = block(x, None if scales is None else scales[index])
        return x


class PatchEmbed(nn.Module):
    """Embeds each patch of pixels as a token; a clip is padded with zeros to whole patches."""

    config: SwinConfig

    @nn.compact
    def __call__(self, clips: Float[Array, "b t h w 3"]) -> Float[Array, "b t2 h2 w2 c"]:
        """Embeds the patches of clips."""
        i, j, k = self.config.patch
        clips = pad_to(clips, padded_size(clips.shape[1:4], self.config.patch))
        # A convolution whose stride is its kernel's size is one matrix product over patches. A row
        # of a patch lies together in memory; moved as a whole, it is moved faster.
        rows = rearrange(clips, "b t h w c -> b t h (w c)")
        rows = rearrange(rows, "b (t i) (h j) (w kc) -> b t h w i j kc", i=i, j=j, kc=3 * k)
        if _is_blocked(self, self.config):
            params = self.variables["params"]
            patches = rearrange(rows, "b t h w i j kc -> b t h w (i j kc)")
            return attention_blocked.embed_patches(patches, params["proj"], params["norm"])
        patches = rearrange(rows, "b t h w i j (k c) -> b t h w i j k c", k=k)
        tokens = nn.DenseGeneral(
            self.config.embed_dim,
            axis=(-4, -3, -2, -1),
            dtype=self.config.dtype,
            # PyTorch's default for a convolution, which the published code keeps here.
            kernel_init=nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
            precision=self.config.precision,
            name="proj",
        )(patches)
        return _layer_norm("norm", self.config.dtype)(tokens)


class PatchMerging(nn.Module):
    """Joins each 2x2 tokens of a frame into one of twice the width."""

    config: SwinConfig

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t h2 w2 d"]:
        """Merges; odd sizes are padded with zeros."""
        x = pad_to(x, padded_size(x.shape[1:4], (1, 2, 2)))
        # The published order: (even, even), (odd, even), (even, odd), (odd, odd) of (h, w).
        x = rearrange(x, "b t (h i) (w j) c -> b t h w (j i c)", i=2, j=2)
        if _is_blocked(self, self.config):
            params = self.variables["params"]
            return attention_blocked.reduce_merged(x, params["norm"], params["reduction"])
        x = _layer_norm("norm", self.config.dtype)(x)
        return _dense(self.config, x.shape[-1] // 2, "reduction", use_bias=False)(x)


class SwinBlock(nn.Module):
    """Window attention, then an MLP; each normalised first and added to its input."""

    config: SwinConfig
    num_heads: int
    shifted: bool  # whether the windows are shifted by half their size

    @nn.compact
    def __call__(
        self, x: Float[Array, "b t h w c"], scales: Float[Array, "2 b"] | None
    ) -> Float[Array, "b t h w c"]:
        """Updates the tokens; `scales` are a block's of `drop_path_scales`, None: 1."""
        config = self.config
        if _is_blocked(self, config):
            return self._blocked(x, scales)
        attention = WindowAttention(
            num_heads=self.num_heads,
            window=config.window,
            shift=self._shift(),
            dtype=config.dtype,
            precision=config.precision,
            fused=config.chosen_attention() == "pallas",
            name="attn",
        )
        x = x + _scaled(attention(_layer_norm("norm1", config.dtype)(x)), scales, 0)
        hidden = _dense(config, int(x.shape[-1] * config.mlp_ratio), "fc1")(
            _layer_norm("norm2", config.dtype)(x)
        )
        hidden = jax.nn.gelu(hidden, approximate=False)
        return x + _scaled(_dense(config, x.shape[-1], "fc2")(hidden), scales, 1)

    def _blocked(
        self, x: Float[Array, "b t h w c"], scales: Float[Array, "2 b"] | None
    ) -> Float[Array, "b t h w c"]:
        """Computes the same as `__call__`, with the parameters that it declared."""
        params = self.variables["params"]
        windows = attention_blocked.plan_windows(x.shape[1:4], self.config.window, self._shift())
        table = params["attn"]["relative_position_bias_table"]
        bias = relative_position_bias(table, self.config.window, windows.window)
        scales = jnp.ones((2, len(x))) if scales is None else scales
        x = attention_blocked.attend(x, params["norm1"], params["attn"], bias, windows, scales[0])
        return attention_blocked.feed_forward(
            x, params["norm2"], params["fc1"], params["fc2"], scales[1]
        )

    def _shift(self) -> tuple[int, ...]:
        return tuple(w // 2 if self.shifted else 0 for w in self.config.window)


def drop_path_scales(
    key: PRNGKeyArray, rates: Float[np.ndarray, "blocks"], clips: int
) -> Float[Array, "blocks 2 b"]:
    """Draws which residual branches are dropped for which clips, keeping their expectation.

    Stochastic depth, arXiv 1603.09382. `rates`, 0 <= rate < 1, are the blocks' chances to drop a
    clip's branch; attention and MLP are multiplied by the factors returned, 0 or 1 / (1 - rate).
    """
    keep = (1 - rates)[:, None, None]
    return jax.random.bernoulli(key, keep, (len(rates), 2, clips)) / keep


def _scaled(
    branch: Float[Array, "b t h w c"], scales: Float[Array, "2 b"] | None, place: int
) -> Float[Array, "b t h w c"]:
    if scales is None:
        return branch
    return branch * scales[place].astype(branch.dtype)[:, None, None, None, None]


def _as_function(block: SwinBlock) -> scan.Block:
    return lambda params, x, scales: block.apply({"params": params}, x, scales)


def _is_blocked(module: nn.Module, config: SwinConfig) -> bool:
    """Whether `mpjax.models.swin.attention_blocked` computes, with the declared parameters."""
    return config.chosen_attention() == "blocked" and not module.is_initializing()


def _layer_norm(name: str, dtype: str) -> nn.LayerNorm:
    return nn.LayerNorm(
        epsilon=LAYER_NORM_EPSILON,
        dtype=dtype,
        use_fast_variance=False,  # E[x^2] - E[x]^2 cancels where a token's mean is large
        name=name,
    )


def _dense(config: SwinConfig, features: int, name: str, *, use_bias: bool = True) -> nn.Dense:
    return nn.Dense(
        features,
        use_bias=use_bias,
        dtype=config.dtype,
        kernel_init=nn.initializers.normal(0.02),
        precision=config.precision,
        name=name,
    )


def init_params(config: SwinConfig, key: PRNGKeyArray) -> Any:
    """Draws the parameters of `VideoSwin(config)`: one plain pytree of float32 arrays."""
    one_patch = jnp.zeros((1, *config.patch, 3))  # no parameter depends on the clips' size
    return VideoSwin(config).init(key, one_patch)["params"]
