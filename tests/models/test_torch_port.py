import re

import jax
import numpy as np
import pytest

from mpjax.models.swin import SwinConfig, init_params
from mpjax.models.torch_port import convert_state_dict, find_state_dict

SMALL = SwinConfig(
    embed_dim=8, depths=(2, 1), num_heads=(2, 4), patch=(2, 4, 2), window=(2, 3, 3), num_classes=5
)


def official_state(*, window=(2, 3, 3)):
    """The tensors of `SMALL` under the official names, in PyTorch's layouts."""
    rng = np.random.default_rng(0)

    def linear(name, outputs, inputs, *, bias=True):
        kernel = {f"{name}.weight": rng.normal(size=(outputs, inputs))}
        return kernel | ({f"{name}.bias": rng.normal(size=outputs)} if bias else {})

    def norm(name, width):
        return {f"{name}.weight": rng.normal(size=width), f"{name}.bias": rng.normal(size=width)}

    state = {"backbone.patch_embed.proj.weight": rng.normal(size=(8, 3, 2, 4, 2))}
    state |= {"backbone.patch_embed.proj.bias": rng.normal(size=8)}
    state |= norm("backbone.patch_embed.norm", 8)
    for stage, (depth, heads, width) in enumerate([(2, 2, 8), (1, 4, 16)]):
        for block in range(depth):
            name = f"backbone.layers.{stage}.blocks.{block}"
            tokens, rows = np.prod(window), np.prod(2 * np.array(window) - 1)
            state |= norm(f"{name}.norm1", width) | norm(f"{name}.norm2", width)
            state |= linear(f"{name}.attn.qkv", 3 * width, width)
            state |= linear(f"{name}.attn.proj", width, width)
            state |= linear(f"{name}.mlp.fc1", 4 * width, width)
            state |= linear(f"{name}.mlp.fc2", width, 4 * width)
            state[f"{name}.attn.relative_position_bias_table"] = rng.normal(size=(rows, heads))
            state[f"{name}.attn.relative_position_index"] = np.zeros((tokens, tokens), np.int64)
    state |= norm("backbone.layers.0.downsample.norm", 32)
    state |= linear("backbone.layers.0.downsample.reduction", 16, 32, bias=False)
    state |= {"backbone.layers.0.attn_mask": np.zeros(3)}
    return state | norm("backbone.norm", 16) | linear("cls_head.fc_cls", 5, 16)


def torchvision_names(state):
    """The same tensors under torchvision's names."""
    renamed = {}
    for name, value in state.items():
        name = name.removeprefix("backbone.").replace("cls_head.fc_cls", "head")
        name = re.sub(r"layers\.(\d)\.blocks", lambda m: f"features.{2 * int(m[1])}", name)
        name = re.sub(r"layers\.(\d)\.downsample", lambda m: f"features.{2 * int(m[1]) + 1}", name)
        renamed[name.replace("mlp.fc1", "mlp.0").replace("mlp.fc2", "mlp.3")] = value
    return renamed


@pytest.mark.parametrize("layout", [dict, torchvision_names])
def test_config_is_read_off_the_shapes_of_both_layouts(layout):
    config, params = convert_state_dict(layout(official_state()))
    assert config == SMALL
    expected = jax.eval_shape(lambda key: init_params(SMALL, key), jax.random.key(0))
    assert jax.tree.structure(params) == jax.tree.structure(expected)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(params))


def test_both_layouts_give_the_same_parameters():
    official = convert_state_dict(official_state())[1]
    torchvision = convert_state_dict(torchvision_names(official_state()))[1]
    jax.tree.map(np.testing.assert_array_equal, official, torchvision)


def test_every_number_of_the_checkpoint_arrives_once():
    state = official_state()
    given = np.concatenate(
        [v.ravel() for k, v in state.items() if not k.endswith(("_index", "_mask"))]
    ).astype(np.float32)
    taken = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(convert_state_dict(state)[1])])
    np.testing.assert_array_equal(np.sort(taken), np.sort(given))


def test_a_checkpoint_without_a_head_gives_a_config_without_classes():
    state = {k: v for k, v in official_state().items() if not k.startswith("cls_head")}
    config, params = convert_state_dict(state)
    assert config.num_classes is None
    assert "head" not in params


def test_all_faults_are_listed_at_once():
    state = official_state()
    del state["backbone.layers.0.blocks.1.attn.qkv.bias"]
    del state["backbone.norm.weight"]
    state["backbone.layers.1.blocks.0.extra"] = np.zeros(1)
    state["backbone.layers.1.blocks.0.norm1.bias"] = np.zeros(15)
    with pytest.raises(ValueError) as caught:
        convert_state_dict(state)
    message = str(caught.value)
    assert re.search(r"missing: norm/scale, stage0_block1/attn/qkv/bias;", message)
    assert "unexpected: backbone.layers.1.blocks.0.extra;" in message
    assert re.search(r"misshaped: backbone\.layers\.1\.blocks\.0\.norm1\.bias \(15,\)", message)


def test_a_part_that_the_network_does_not_have_is_unexpected():
    state = official_state()
    state["backbone.layers.1.downsample.norm.weight"] = np.zeros(
        64
    )  # the last stage merges nothing
    with pytest.raises(ValueError, match=r"unexpected: backbone\.layers\.1\.downsample\.norm"):
        convert_state_dict(state)


def test_a_head_with_another_width_is_misshaped():
    state = official_state() | {"cls_head.fc_cls.weight": np.zeros((5, 17))}
    with pytest.raises(
        ValueError, match=r"misshaped: cls_head\.fc_cls\.weight \(5, 17\), for head"
    ):
        convert_state_dict(state)


def test_a_kernel_of_the_right_size_but_wrong_order_is_misshaped():
    state = official_state()
    name = "backbone.layers.0.blocks.0.mlp.fc1.weight"
    with pytest.raises(ValueError, match="misshaped"):
        convert_state_dict(state | {name: state[name].T})


def test_a_2d_patch_kernel_is_misshaped():
    state = official_state() | {"backbone.patch_embed.proj.weight": np.zeros((8, 3, 4, 4))}
    with pytest.raises(ValueError, match=r"misshaped: .*patch_embed\.proj\.weight \(8, 3, 4, 4\)"):
        convert_state_dict(state)


def test_another_network_is_called_so():
    resnet = {"conv1.weight": np.zeros((64, 3, 7, 7)), "fc.bias": np.zeros(1000)}
    with pytest.raises(ValueError, match=r"not a Video Swin.*conv1\.weight, fc\.bias"):
        convert_state_dict(resnet)


@pytest.mark.parametrize("window", [(2, 3, 3), (5, 2, 2), (1, 3, 3)])
def test_the_index_decides_between_windows_whose_tables_have_equal_rows(window):
    assert convert_state_dict(official_state(window=window))[0].window == window


@pytest.mark.parametrize("window", [(8, 7, 7), (2, 7, 7), (16, 7, 7), (5, 7, 7)])
def test_published_windows_are_found_without_the_index(window):
    state = official_state(window=window)
    state = {k: v for k, v in state.items() if not k.endswith("_index")}
    assert convert_state_dict(state)[0].window == window


def test_the_state_dict_is_found_where_it_is_nested():
    state = {"x": np.zeros(1)}
    assert find_state_dict({"meta": {"epoch": 1}, "state_dict": state, "optimizer": {}}) is state
    assert find_state_dict(state) is state


@pytest.mark.parametrize("content", [[np.zeros(1)], {}, {"state_dict": {"epoch": 3}}, 5])
def test_a_checkpoint_without_tensors_is_refused(content):
    with pytest.raises(ValueError, match="expected a dict of tensors"):
        find_state_dict(content)
