"""One step of training or evaluation: pure functions of state, frozen weights and a batch.

What is trained is `state.params`; a frozen projector is a separate argument, so that its gradient
is never computed.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from einops import rearrange
from flax import struct
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mpjax.config import TrainConfig
from mpjax.models import lora, swin
from mpjax.models.projector import Projector
from mpjax.training import optim

# (projector's weights, clips, key of dropped paths or None) -> embeddings [b, d].
Network: TypeAlias = Callable[[Any, Array, PRNGKeyArray | None], Array]
Batch: TypeAlias = dict[str, Array]
Move: TypeAlias = Callable[[Any], Any]  # a tree of arrays to other places on the mesh

HEAD_INIT_STD = 0.01  # of the published head


class State(struct.PyTreeNode):
    """What a step of training changes."""

    step: Any  # number of steps taken, int32
    # `head` (kernel [d, classes], bias [classes]); `adapters` or `projector` if trained too
    params: Any
    opt_state: Any
    ema: Any  # running average of `params`; empty if none is kept

    @property
    def evaluated(self) -> Any:
        """The parameters to evaluate and to export."""
        return self.ema or self.params


@dataclasses.dataclass(frozen=True, eq=False)
class TrainTask:
    """What is trained, and how."""

    config: TrainConfig
    network: Network
    init_params: Callable[[PRNGKeyArray, Any], Any]  # (key, projector's weights) -> `State.params`
    class_weight: Float[np.ndarray, "classes"]  # in the loss; 1 on average over training clips
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule  # the optimiser's learning rate by step


def make_network(projector: Projector, config: TrainConfig) -> Network:
    """Returns the projector as training runs it: with dropped paths, if it has any."""
    if isinstance(projector.config, swin.SwinConfig):
        model = swin.VideoSwin(
            dataclasses.replace(
                projector.config,
                num_classes=None,
                drop_path_rate=config.drop_path,
                remat=config.remat,
            )
        )

        def network(params: Any, clips: Array, key: PRNGKeyArray | None) -> Array:
            clips = projector.normalise(clips)
            rngs = {} if key is None else {"drop_path": key}
            outputs = model.apply({"params": params}, clips, train=key is not None, rngs=rngs)
            return outputs.embedding

        return network
    if config.what != "head":
        raise ValueError(
            f"config.train.what={config.what} trains a Video Swin (config.projector.kind=swin), "
            f"not {projector.name!r}"
        )
    return lambda params, clips, key: projector.embed(params, clips)


def init_params(
    config: TrainConfig,
    key: PRNGKeyArray,
    projector: Any,
    *,
    embedding_dim: int,
    num_classes: int,
) -> Any:
    """Draws the head and the adapters; `projector` holds the weights to start from."""
    head_key, adapter_key = jax.random.split(key)
    kernel = HEAD_INIT_STD * jax.random.normal(head_key, (embedding_dim, num_classes))
    params = {"head": {"kernel": kernel, "bias": jnp.zeros(num_classes)}}
    if config.what == "lora":
        params["adapters"] = lora.init(config.lora, projector, adapter_key)
    if config.what == "all":
        params["projector"] = projector
    return params


def init_state(task: TrainTask, key: PRNGKeyArray, projector: Any) -> State:
    """Returns the state before the first step; `projector` holds the weights to start from."""
    params = task.init_params(key, projector)
    return State(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=task.optimizer.init(params),
        ema=params if task.config.optim.ema else {},
    )


def _projector_params(task: TrainTask, params: Any, frozen: Any) -> Any:
    """Returns the projector's weights: trained, adapted or frozen."""
    if "projector" in params:
        return params["projector"]
    if "adapters" in params:
        return lora.merge(frozen, params["adapters"], task.config.lora)
    return frozen


def _classify(head: Any, embedding: Float[Array, "b d"]) -> Float[Array, "b classes"]:
    precision = jax.lax.Precision.HIGHEST
    return jnp.dot(embedding, head["kernel"], precision=precision) + head["bias"]


def _loss(
    params: Any, frozen: Any, batch: Batch, key: PRNGKeyArray, task: TrainTask
) -> tuple[Float[Array, ""], Int[Array, ""]]:
    """Returns the summed loss of a batch, and how many of its clips are classified correctly."""
    path_key, dropout_key = jax.random.split(key)
    embedding = task.network(_projector_params(task, params, frozen), batch["clips"], path_key)
    keep = 1.0 - task.config.dropout
    kept = jax.random.bernoulli(dropout_key, keep, embedding.shape)
    logits = _classify(params["head"], jnp.where(kept, embedding / keep, 0.0))
    label = batch["label"]
    target = jax.nn.one_hot(label, logits.shape[1])
    target = optax.smooth_labels(target, task.config.label_smoothing)
    loss = optax.softmax_cross_entropy(logits, target) * jnp.asarray(task.class_weight)[label]
    return loss.sum(), (logits.argmax(axis=1) == label).sum()


def _stay(tree: Any) -> Any:
    return tree


def train_step(
    state: State,
    frozen: Any,
    batch: Batch,
    key: PRNGKeyArray,
    task: TrainTask,
    gather: Move = _stay,
    scatter: Move = _stay,
) -> tuple[State, dict[str, Array]]:
    """Takes one step of the optimiser.

    Args:
        state: is consumed.
        frozen: weights of the projector if it is not trained or has adapters; else empty.
        batch: `clips` uint8 [b, t, h, w, 3] and `label` [b].
        key: of the run; the key of the step is derived from it.
        gather: moves weights from where they are stored to where they are used.
        scatter: moves a gradient to where the weights are stored.

    Returns:
        The next state, and `loss`, `accuracy`, `gradient_norm` and `learning_rate`.
    """
    size = len(batch["label"])
    key = jax.random.fold_in(key, state.step)
    used, frozen = gather(state.params), gather(frozen)
    (loss, correct), gradient = _accumulate(used, frozen, batch, key, task, scatter)
    gradient = jax.tree.map(lambda g: g / size, gradient)
    updates, opt_state = task.optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = state.ema
    if task.config.optim.ema:
        ema = optim.update_ema(ema, params, decay=task.config.optim.ema, step=state.step)
    metrics = {
        "loss": loss / size,
        "accuracy": correct / size,
        "gradient_norm": optax.tree.norm(gradient),
        "learning_rate": jnp.asarray(task.schedule(state.step)),
    }
    return State(step=state.step + 1, params=params, opt_state=opt_state, ema=ema), metrics


def _accumulate(
    params: Any, frozen: Any, batch: Batch, key: PRNGKeyArray, task: TrainTask, scatter: Move
) -> Any:
    """Sums loss, correct answers and gradient over parts of the batch, one after the other."""

    def differentiate(rows: Batch, key: PRNGKeyArray) -> Any:
        found, gradient = jax.value_and_grad(_loss, has_aux=True)(params, frozen, rows, key, task)
        return found, scatter(gradient)

    parts = task.config.optim.accumulate
    if parts == 1:
        return differentiate(batch, key)
    # Every part takes some rows of every device, so that no row has to move.
    cut = jax.tree.map(lambda x: rearrange(x, "(b parts) ... -> parts b ...", parts=parts), batch)

    def add(total: Any, part: Any) -> tuple[Any, None]:
        number, rows = part
        key_of_part = jax.random.fold_in(key, number)
        return jax.tree.map(jnp.add, total, differentiate(rows, key_of_part)), None

    nothing = scatter(jax.tree.map(jnp.zeros_like, params))
    zero = ((jnp.zeros(()), jnp.zeros((), jnp.int32)), nothing)
    return jax.lax.scan(add, zero, (jnp.arange(parts), cut))[0]


def eval_step(
    params: Any, frozen: Any, batch: Batch, task: TrainTask, gather: Move = _stay
) -> dict[str, Array]:
    """Sums loss and correct answers over the clips of a batch; arguments as for `train_step`.

    The batch also has `mask` bool [b], False for rows that only fill it. Returns per class,
    [classes]: `loss`, `correct` and `count`, to be summed over batches.
    """
    params, frozen = gather(params), gather(frozen)
    embedding = task.network(_projector_params(task, params, frozen), batch["clips"], None)
    logits = _classify(params["head"], embedding)
    label, mask = batch["label"], batch["mask"]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    correct = logits.argmax(axis=1) == label
    member = jax.nn.one_hot(label, logits.shape[1]) * mask[:, None]
    return {"loss": losses @ member, "correct": correct @ member, "count": member.sum(axis=0)}
