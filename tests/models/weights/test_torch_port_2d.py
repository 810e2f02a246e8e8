import re

import jax
import numpy as np
import pytest

from mpjax.models.swin import VideoSwin
from mpjax.models.weights.inflation import Inflation
from mpjax.models.weights.torch_port import convert_state_dict
from tests.models.weights.test_torch_port import official_state, torchvision_names


def image_state(*, side=3):
    """The tensors of a 2D Swin with square windows, under the official names."""
    state = official_state(window=(1, side, side))
    state = {name.removeprefix("backbone."): value for name, value in state.items()}
    state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"][:, :, 0]
    state |= {"head.weight": state.pop("cls_head.fc_cls.weight")}
    return state | {"head.bias": state.pop("cls_head.fc_cls.bias")}


def torchvision_image_names(state):
    """The tensors of a 2D Swin under torchvision's names."""
    renamed = {}
    for name, value in torchvision_names(state).items():
        name = re.sub(r"features\.(\d)", lambda m: f"features.{int(m[1]) + 1}", name)
        name = name.replace("patch_embed.proj", "features.0.0")
        renamed[name.replace("patch_embed.norm", "features.0.2")] = value
    return renamed


def test_a_2d_patch_kernel_makes_3d_bias_tables_misshaped():
    state = official_state() | {"backbone.patch_embed.proj.weight": np.zeros((8, 3, 4, 2))}
    table = r"layers\.0\.blocks\.0\.attn\.relative_position_bias_table \(75, 2\)"
    with pytest.raises(ValueError, match=rf"misshaped: .*{table}, for '\(2s-1\)\^2 h'"):
        convert_state_dict(state)


@pytest.mark.parametrize("rename", [dict, torchvision_image_names])
@pytest.mark.parametrize("name", ["logit_scale", "cpb_mlp.0.weight"])
def test_a_swin_v2_is_called_so(rename, name):
    second = rename(image_state() | {f"layers.0.blocks.0.attn.{name}": np.zeros((2, 1, 1))})
    with pytest.raises(ValueError, match=rf"a Swin V2 checkpoint \(.*\.attn\.{name}\)"):
        convert_state_dict(second)


def test_a_2d_bias_table_of_no_square_window_is_one_fault_among_the_others():
    name = "layers.1.blocks.0.attn.relative_position_bias_table"
    state = image_state() | {name: np.zeros((24, 4)), "extra": np.zeros(1)}
    del state["norm.weight"]
    with pytest.raises(ValueError) as caught:
        convert_state_dict(state)
    assert str(caught.value).endswith(
        f"missing: norm/scale; unexpected: extra; misshaped: {name} (24, 4), for '(2s-1)^2 h', "
        "s the side of a window"
    )


@pytest.mark.parametrize(
    ("rename", "layout"), [(dict, "official 2D"), (torchvision_image_names, "torchvision 2D")]
)
@pytest.mark.parametrize("inflation", [None, Inflation((4, 3, 5), patch_frames=3)])
def test_a_2d_network_is_inflated_as_asked(rename, layout, inflation):
    converted = convert_state_dict(rename(image_state()), inflation=inflation)
    assert converted.layout == layout
    assert converted.config.window == ((4, 3, 5) if inflation else (8, 7, 7))
    assert converted.config.patch == (3 if inflation else 2, 4, 2)
    assert converted.config.num_classes == 5


def test_an_inflated_network_gives_for_a_still_clip_what_the_2d_network_gives_for_its_frame():
    def logits(inflation, frames):
        config, params, _, _ = convert_state_dict(image_state(), inflation=inflation)
        clips = np.repeat(frame, frames, axis=1)
        return jax.jit(VideoSwin(config).apply)({"params": params}, clips).logits

    # 6x6 tokens: four windows in space, shifted in the second block; then one.
    frame = np.random.default_rng(3).standard_normal((2, 1, 24, 12, 3)).astype("float32")
    image = logits(Inflation((1, 3, 3), patch_frames=1), frames=1)
    # Three windows in time, shifted too.
    clip = logits(Inflation((2, 3, 3), patch_frames=2), frames=12)
    np.testing.assert_allclose(clip, image, rtol=0, atol=1e-5 * np.abs(image).max())


def test_inflating_a_3d_network_is_refused():
    with pytest.raises(ValueError, match=r"Inflation\(.*but the checkpoint is of a 3D network"):
        convert_state_dict(official_state(), inflation=Inflation())
