import re

import jax
import numpy as np
import pytest

from mpjax.models.lora import TARGETS, LoraConfig
from mpjax.models.swin import SwinConfig, init_params
from mpjax.models.weights.torch_port import convert_state_dict, find_state_dict

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


def lora_tensors(layers, *, rank=3, stages=(0, 1), seed=1):
    """LoRA tensors under the names of the UAS code."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for stage, block in [(0, 0), (0, 1), (1, 0)]:
        width = 8 * 2**stage
        for layer in layers if stage in stages else ():
            part = "mlp" if layer.startswith("fc") else "attn"
            name = f"backbone.layers.{stage}.blocks.{block}.{part}.lora_{layer}"
            inputs = 4 * width if layer == "fc2" else width
            outputs = 4 * width if layer == "fc1" else width
            tensors[f"{name}.lora_A.weight"] = rng.normal(size=(rank, inputs))
            tensors[f"{name}.lora_B.weight"] = rng.normal(size=(outputs, rank))
    return tensors


@pytest.mark.parametrize(
    ("rename", "layout"), [(dict, "official"), (torchvision_names, "torchvision")]
)
def test_config_is_read_off_the_shapes_of_both_layouts(rename, layout):
    converted = convert_state_dict(rename(official_state()))
    config, params = converted.config, converted.params
    assert config == SMALL
    assert converted.layout == layout
    assert converted.lora is None
    expected = jax.eval_shape(lambda key: init_params(SMALL, key), jax.random.key(0))
    assert jax.tree.structure(params) == jax.tree.structure(expected)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(params))


def test_both_layouts_give_the_same_parameters():
    official = convert_state_dict(official_state()).params
    torchvision = convert_state_dict(torchvision_names(official_state())).params
    jax.tree.map(np.testing.assert_array_equal, official, torchvision)


def test_every_number_of_the_checkpoint_arrives_once():
    state = official_state()
    given = np.concatenate(
        [v.ravel() for k, v in state.items() if not k.endswith(("_index", "_mask"))]
    ).astype(np.float32)
    params = convert_state_dict(state).params
    taken = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(params)])
    np.testing.assert_array_equal(np.sort(taken), np.sort(given))


def test_a_checkpoint_without_a_head_gives_a_config_without_classes():
    state = {k: v for k, v in official_state().items() if not k.startswith("cls_head")}
    converted = convert_state_dict(state)
    assert converted.config.num_classes is None
    assert "head" not in converted.params


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


def test_faults_are_listed_together_also_where_the_config_cannot_be_read():
    state = official_state()
    del state["backbone.layers.0.blocks.0.attn.relative_position_bias_table"]
    state["backbone.patch_embed.proj.weight"] = np.zeros((0, 3, 2, 4, 4))
    state["backbone.extra"] = np.zeros(1)
    with pytest.raises(ValueError) as caught:
        convert_state_dict(state)
    message = str(caught.value)
    assert "missing: stage0_block0/attn/relative_position_bias_table;" in message
    assert "unexpected: backbone.extra;" in message
    assert "misshaped: backbone.patch_embed.proj.weight (0, 3, 2, 4, 4)" in message


def test_tensors_with_the_wrong_number_of_axes_do_not_hide_other_faults():
    state = official_state()
    state["backbone.norm.bias"] = np.zeros((3, 1))
    state["backbone.extra"] = np.zeros(1)
    with pytest.raises(ValueError, match=r"unexpected: backbone\.extra; misshaped: .*\(3, 1\)"):
        convert_state_dict(state)


def test_weights_that_are_not_finite_are_refused_by_name():
    state = official_state()
    state["backbone.norm.bias"] = np.full_like(state["backbone.norm.bias"], np.nan)
    with pytest.raises(ValueError, match=r"not finite: backbone\.norm\.bias$"):
        convert_state_dict(state)


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


def test_a_patch_kernel_of_3_axes_is_misshaped():
    state = official_state() | {"backbone.patch_embed.proj.weight": np.zeros((8, 3, 4))}
    with pytest.raises(ValueError, match=r"misshaped: .*patch_embed\.proj\.weight \(8, 3, 4\)"):
        convert_state_dict(state)


def test_a_tensor_under_two_names_is_unexpected():
    state = official_state() | {"norm.weight": np.zeros(16)}
    with pytest.raises(ValueError, match=r"unexpected: norm\.weight$"):
        convert_state_dict(state)


def test_integer_weights_are_refused():
    state = official_state() | {"backbone.norm.weight": np.zeros(16, np.int64)}
    with pytest.raises(ValueError, match=r"not floating point: backbone\.norm\.weight int64$"):
        convert_state_dict(state)


def test_half_precision_weights_are_widened():
    state = {name: value.astype(np.float16) for name, value in official_state().items()}
    params = convert_state_dict(state).params
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}


def test_another_network_is_called_so():
    resnet = {"conv1.weight": np.zeros((64, 3, 7, 7)), "fc.bias": np.zeros(1000)}
    with pytest.raises(ValueError, match=r"not a Video Swin.*conv1\.weight, fc\.bias"):
        convert_state_dict(resnet)


@pytest.mark.parametrize("window", [(2, 3, 3), (5, 2, 2), (1, 3, 3)])
def test_the_index_decides_between_windows_whose_tables_have_equal_rows(window):
    assert convert_state_dict(official_state(window=window)).config.window == window


def spoil(state):
    """Adds a fault of every kind but of the bias tables."""
    del state["backbone.norm.weight"]
    state["backbone.extra"] = np.zeros(1)
    state["backbone.layers.1.blocks.0.norm1.bias"] = np.zeros(15)
    state["backbone.layers.0.blocks.1.norm2.bias"] = np.full(8, np.inf)


@pytest.mark.parametrize("rows", [74, 77])  # of no window at all; of none with so many tokens
def test_a_bias_table_that_fits_no_window_is_one_fault_among_the_others(rows):
    state = official_state()
    spoil(state)
    name = "backbone.layers.0.blocks.0.attn.relative_position_bias_table"
    state[name] = np.zeros((rows, 2))
    with pytest.raises(ValueError) as caught:
        convert_state_dict(state)
    assert str(caught.value) == (
        "the tensors are not those of a Video Swin; missing: norm/scale; "
        "unexpected: backbone.extra; "
        f"misshaped: {name} ({rows}, 2), for '(2t-1)(2s-1)^2 h' of a window (t, s, s) of 18 "
        "tokens, backbone.layers.1.blocks.0.norm1.bias (15,), for stage1_block0/norm1/bias (16,) "
        "by 'd -> d'; not finite: backbone.layers.0.blocks.1.norm2.bias"
    )


def test_windows_that_are_not_square_are_refused_naming_every_table():
    state = official_state(window=(2, 3, 5))
    spoil(state)
    with pytest.raises(ValueError) as caught:
        convert_state_dict(state)
    message = str(caught.value)
    for name in ("0.blocks.0", "0.blocks.1", "1.blocks.0"):
        table = rf"layers\.{name}\.attn\.relative_position_bias_table \(135, \d\), for '\(2t-1\)"
        assert re.search(table + r"\(2s-1\)\^2 h' of a window \(t, s, s\) of 30 tokens", message)
    assert message.count("relative_position_bias_table") == 3
    assert "missing: norm/scale; unexpected: backbone.extra; misshaped: " in message
    assert "norm1.bias (15,)" in message


@pytest.mark.parametrize("window", [(8, 7, 7), (2, 7, 7), (16, 7, 7), (5, 7, 7)])
def test_published_windows_are_found_without_the_index(window):
    state = official_state(window=window)
    state = {k: v for k, v in state.items() if not k.endswith("_index")}
    assert convert_state_dict(state).config.window == window


def test_the_state_dict_is_found_where_it_is_nested():
    state = {"x": np.zeros(1)}
    assert find_state_dict({"meta": {"epoch": 1}, "state_dict": state, "optimizer": {}}) is state
    assert find_state_dict({"model": state, "epoch": 299}) is state
    assert find_state_dict(state) is state


@pytest.mark.parametrize(
    "content", [[np.zeros(1)], {}, {"state_dict": {"epoch": 3}}, {"model": []}, 5]
)
def test_a_checkpoint_without_tensors_is_refused(content):
    with pytest.raises(ValueError, match="expected a dict of tensors"):
        find_state_dict(content)


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize(("alpha", "kept"), [(None, 3.0), (6.0, 6.0)])
def test_adapters_are_read_off_names_and_shapes(targets, alpha, kept):
    state = official_state() | lora_tensors(TARGETS[targets])
    converted = convert_state_dict(state, lora_alpha=alpha)
    assert converted.lora == LoraConfig(targets, rank=3, alpha=kept)
    assert converted.config == SMALL
    assert jax.tree.structure(converted.params) == jax.tree.structure(
        convert_state_dict(official_state()).params
    )


@pytest.mark.parametrize(("place", "layer"), [(0, "q"), (1, "k"), (2, "v")])
def test_adapters_are_merged_into_the_rows_of_their_layer(place, layer):
    adapters = lora_tensors(TARGETS["qkv"])
    by_hand = official_state()
    for stage, block in [(0, 0), (0, 1), (1, 0)]:
        attn, width = f"backbone.layers.{stage}.blocks.{block}.attn", 8 * 2**stage
        a, b = (adapters[f"{attn}.lora_{layer}.lora_{side}.weight"] for side in "AB")
        by_hand[f"{attn}.qkv.weight"][place * width : (place + 1) * width] += 6 / 3 * b @ a
    merged = convert_state_dict(official_state() | adapters, lora_alpha=6.0).params
    expected = convert_state_dict(by_hand).params
    for block in ("stage0_block0", "stage0_block1", "stage1_block0"):
        got, want = (tree[block]["attn"]["qkv"]["kernel"][:, place] for tree in (merged, expected))
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("stages", "kept"), [("first", (0,)), ("last", (1,)), ("all", (0, 1))])
def test_adapters_may_sit_in_the_first_or_last_stage_alone(stages, kept):
    state = official_state() | lora_tensors("qv", stages=kept)
    assert convert_state_dict(state).lora == LoraConfig("qv", rank=3, alpha=3.0, stages=stages)


def test_alpha_without_adapters_is_refused():
    with pytest.raises(ValueError, match=r"lora_alpha 8\.0 is given, but .* has no LoRA tensors"):
        convert_state_dict(official_state(), lora_alpha=8.0)


def test_adapters_of_unequal_rank_are_refused():
    state = official_state() | lora_tensors("qv")
    state |= lora_tensors("qv", rank=5, stages=(1,))
    with pytest.raises(ValueError, match=r"LoRA tensors of unequal rank: 3 \(.*\), 5 \(.*\)$"):
        convert_state_dict(state)


def test_adapters_on_other_layers_than_published_are_refused():
    state = official_state() | lora_tensors(("q", "fc1"))
    with pytest.raises(ValueError, match="LoRA on fc1, q is none of the targets qv, qkv, qkvo"):
        convert_state_dict(state)


def test_a_missing_adapter_is_listed():
    state = official_state() | lora_tensors("qv")
    del state["backbone.layers.0.blocks.1.attn.lora_v.lora_B.weight"]
    with pytest.raises(ValueError, match=r"missing: lora/stage0_block1/v/b$"):
        convert_state_dict(state)


def test_a_misshaped_adapter_is_listed():
    name = "backbone.layers.1.blocks.0.attn.lora_q.lora_A.weight"
    state = official_state() | lora_tensors("qv") | {name: np.zeros((3, 8))}
    with pytest.raises(ValueError, match=rf"misshaped: {re.escape(name)} \(3, 8\), for lora/"):
        convert_state_dict(state)
