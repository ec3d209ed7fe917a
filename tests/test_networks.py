"""Every network of the registry builds, answers alone as in a batch, and has the layout its documentation promises."""

import json

import keras
import numpy as np
import pytest

from kernel import raw_network
from kernel.efficientnet import efficientnet_v2_b2, read_backbone, read_backbone_weights
from kernel.inputs import RawConfig, build_raw
from kernel.model import ModelConfig, build_model, read_model_config, write_config
from kernel.montage import MIRROR
from kernel.networks import NETWORKS
from kernel.picture_networks import MaxViTOptions, _attend, build_picture
from kernel.scalogram import ScalogramConfig
from training.recipe import read_recipe, recipe_names

SMALL = ScalogramConfig(n_freqs=8, stride=400)
ZOOM = ScalogramConfig(n_freqs=8, stride=40, seconds=(20, 30))
PICTURE = {"pool_freqs": 2, "pool_frames": 1}
CONFIGS = {
    "raw_1d": ModelConfig(
        "raw_1d", (RawConfig(),), {"filters": (4, 4), "width": 6, "central_samples": 400, "depth": 1}
    ),
    "raw_attention": ModelConfig(
        "raw_attention",
        (RawConfig(),),
        {"filters": (4, 4), "width": 8, "central_samples": 400, "depth": 1, "head_size": 2},
    ),
    "scalogram_b2": ModelConfig("scalogram_b2", (SMALL,), PICTURE),
    "scalogram_pairs_b2": ModelConfig("scalogram_pairs_b2", (SMALL,), {"pool_central": 1, "pool_window": 1}),
    "scalogram_zoom_b2": ModelConfig("scalogram_zoom_b2", (SMALL, ZOOM), PICTURE),
    "two_input_b2": ModelConfig("two_input_b2", (SMALL, ZOOM), PICTURE),
    "baseline_b2": ModelConfig("baseline_b2", (SMALL,), {"size": 32}),
    "scalogram_maxvit": ModelConfig(
        "scalogram_maxvit", (SMALL,), {**PICTURE, "width": 8, "stages": 2, "window": 3, "head_size": 4}
    ),
}


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)


@pytest.fixture
def stand_in(monkeypatch):
    """Let a small convolution be the backbone: EfficientNetV2-B2 takes seconds to build, and one test has it."""

    def build(shape):
        entry = keras.Input(shape)
        features = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(entry)
        return keras.Model(entry, keras.layers.BatchNormalization()(features))

    monkeypatch.setattr("kernel.picture_networks.efficientnet_v2_b2", build)


def draw_inputs(config, n, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.random((n, *one.shape(18, 10_000)), np.float32) for one in config.inputs]


def randomise(model, seed=1):
    """Give every array other values than the start's zeros and ones, so that nothing is switched off."""
    rng = np.random.default_rng(seed)
    model.set_weights([np.abs(w) + 0.1 * rng.random(w.shape) if w.ndim < 2 else w for w in model.get_weights()])


def test_every_network_has_a_case_and_a_recipe():
    assert CONFIGS.keys() == NETWORKS.keys()
    assert {read_recipe(name)[0].network for name in recipe_names()} == NETWORKS.keys()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_network_answers_with_probabilities_that_no_neighbour_changes(name, tmp_path, request):
    config = CONFIGS[name]
    if name != "scalogram_b2":
        request.getfixturevalue("stand_in")
    model = build_model(config)
    inputs = draw_inputs(config, 2)
    together = np.asarray(model(inputs, training=False))
    alone = np.asarray(model([x[1:] for x in inputs], training=False))
    assert together.shape == (2, 6)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(together[1:], alone, atol=1e-5)
    write_config(config, tmp_path / "config.json")
    assert read_model_config(tmp_path / "config.json").to_json() == config.to_json()


RAW = pytest.mark.parametrize("name", ["raw_1d", "raw_attention"])


@RAW
def test_the_raw_networks_answer_alike_for_a_mirrored_head(name):
    model = build_model(CONFIGS[name])
    randomise(model)
    (raw,) = draw_inputs(CONFIGS[name], 4)
    answers, mirrored = (np.asarray(model([x], training=False)) for x in (raw, raw[:, MIRROR]))
    np.testing.assert_allclose(mirrored, answers, atol=1e-5)
    swapped = np.asarray(model([raw[:, np.roll(np.arange(18), 2)]], training=False))
    assert np.abs(swapped - answers).max() > 1e-4  # and not because it ignores its channels


@RAW
def test_the_raw_networks_see_their_central_samples_finely_and_all_coarsely(name):
    model = build_model(CONFIGS[name])
    randomise(model)
    (raw,) = draw_inputs(CONFIGS[name], 1)
    # Alternating samples average to nothing where four are pooled: the coarse encoder cannot see them.
    fast = np.tile(np.array([1, -1], np.float32), 2500)
    outside, inside, slow = np.zeros((3, *raw.shape), np.float32)
    outside[:, :, :2300] = fast[:2300]
    inside[:, :, 2300:2700] = fast[2300:2700]
    slow[:, :, :400] = 1
    silence, *answers = (np.asarray(model([x], training=False)) for x in (np.zeros_like(raw), outside, inside, slow))
    changed = [np.abs(answer - silence).max() for answer in answers]
    assert changed[0] == 0
    assert min(changed[1:]) > 1e-5


@pytest.mark.parametrize("n_sides", [1, 2])
def test_a_side_of_the_raw_network_attends_to_every_moment_of_both(n_sides):
    entry = keras.Input((n_sides, 50, 8))
    model = keras.Model(entry, raw_network._attend(entry, head_size=4))
    randomise(model)
    model.set_weights([w if w.any() else np.random.default_rng(2).normal(0, 0.1, w.shape) for w in model.get_weights()])
    x = np.random.default_rng(0).random((1, n_sides, 50, 8), np.float32)
    answer = np.asarray(model(x))
    np.testing.assert_allclose(np.asarray(model(x[:, ::-1])), answer[:, ::-1], atol=1e-6)
    for moment in ((0, 0, 0), (0, n_sides - 1, 25)):
        changed = x.copy()
        changed[moment] += 1 + np.arange(8)  # not the same for all features: a layer's normalisation would undo it
        assert np.abs(np.asarray(model(changed)) - answer).max(axis=-1).min() > 1e-6


def test_the_pairs_picture_shows_a_mirrored_head_as_the_opposite_difference(stand_in):
    model = build_model(CONFIGS["scalogram_pairs_b2"])
    (scalogram,) = draw_inputs(CONFIGS["scalogram_pairs_b2"], 1)
    picture = next(layer.output for layer in reversed(model.layers) if isinstance(layer, keras.layers.Concatenate))
    show = keras.Model(model.inputs[0], picture)
    pairs = scalogram.reshape(1, 9, 2, 8, 25)
    seen, mirrored = (np.asarray(show(x.reshape(1, 18, 8, 25))) for x in (pairs, pairs[:, :, ::-1]))
    difference = pairs[:, :, 0].reshape(1, 9, 4, 2, 25).mean(axis=3) - pairs[:, :, 1].reshape(1, 9, 4, 2, 25).mean(
        axis=3
    )
    np.testing.assert_allclose(seen[..., -25:, 1], difference.reshape(1, 36, 25), atol=1e-5)
    np.testing.assert_allclose(mirrored, seen * [1, -1, 1], atol=1e-5)
    assert seen.shape == (1, 36, 5 + 25, 3)  # 11 s of 2 s each, cut to what fits, beside 50 s


def test_the_raw_recipes_network_stays_under_a_million_parameters():
    assert build_model(read_recipe("raw_1d")[0]).count_params() < 1_000_000


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_a_picture_has_each_channel_where_it_is_said_to_be(columns):
    scalogram = np.random.default_rng(0).random((2, 18, 8, 25), np.float32)
    picture = np.asarray(build_picture(keras.ops.convert_to_tensor(scalogram), columns, 2, 4))[..., 0]
    means = scalogram[..., :24].reshape(2, 18, 4, 2, 6, 4).mean(axis=(3, 5))
    assert picture.shape == (2, 18 // columns * 4, columns * 6)
    for channel in range(18):
        row, column = divmod(channel, columns)
        tile = picture[:, row * 4 : row * 4 + 4, column * 6 : column * 6 + 6]
        np.testing.assert_allclose(tile, means[:, channel], rtol=1e-5)


def test_a_picture_that_does_not_divide_is_refused():
    scalogram = keras.Input((18, 8, 25))
    with pytest.raises(ValueError, match="18 channels cannot be laid out in 4 columns"):
        build_picture(scalogram, 4, 2, 4)
    with pytest.raises(ValueError, match="8 frequencies cannot be averaged by 3"):
        build_picture(scalogram, 2, 3, 4)


@pytest.mark.parametrize("in_blocks", [True, False])
def test_maxvits_attention_reaches_a_block_or_a_grid(in_blocks):
    entry = keras.Input((6, 6, 4))
    model = keras.Model(entry, _attend(entry, MaxViTOptions(window=3, head_size=4), in_blocks))
    image = np.random.default_rng(0).random((1, 6, 6, 4), np.float32)
    changed = image.copy()
    changed[0, 1, 1] = np.random.default_rng(1).random(4)
    differs = np.abs(np.asarray(model(changed)) - np.asarray(model(image))).max(axis=-1)[0] > 0
    expected = np.zeros((6, 6), bool)
    if in_blocks:
        expected[:3, :3] = True
    else:
        expected[1::2, 1::2] = True
    np.testing.assert_array_equal(differs, expected)


def test_both_efficientnets_hold_the_same_arrays_and_answer_alike(tmp_path):
    pytest.importorskip("keras_cv")
    theirs, own = (efficientnet_v2_b2((32, 32, 3), use_keras_cv=one) for one in (True, False))
    assert [w.shape for w in theirs.weights] == [w.shape for w in own.weights]
    rng = np.random.default_rng(0)
    for one in (theirs, own):
        silent = [w.path for w in one.trainable_weights if w.path.endswith("gamma") and not np.asarray(w).any()]
        assert len(silent) == 22, "each block but the first of its stage begins as its short cut"
    theirs.set_weights([w + rng.uniform(0.05, 0.15, w.shape) for w in theirs.get_weights()])
    own.set_weights(theirs.get_weights())
    image = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    np.testing.assert_allclose(np.asarray(own(image)), np.asarray(theirs(image)), atol=1e-5)

    # A file of one starts a network with the other inside.
    own.set_weights([w + 1 for w in own.get_weights()])
    own.save_weights(tmp_path / "own.weights.h5")
    read_backbone_weights(keras.Sequential([theirs]), tmp_path / "own.weights.h5")
    for found, expected in zip(theirs.get_weights(), own.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_backbones_file_that_is_absent_or_of_no_use_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.h5"):
        read_backbone(tmp_path / "absent.h5")
    with pytest.raises(ValueError, match="has no EfficientNetV2-B2"):
        read_backbone_weights(build_model(CONFIGS["raw_1d"]), tmp_path)


def test_a_configuration_of_other_fields_is_refused_by_name(tmp_path):
    path = tmp_path / "config.json"
    write_config(CONFIGS["raw_1d"], path)
    values = json.loads(path.read_text())
    values["options"]["colour"] = 1
    del values["options"]["width"]
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"config\.json.*lacks width, has unknown colour"):
        read_model_config(path)


def test_mains_of_millivolts_leave_the_raw_input_as_it_was():
    rng = np.random.default_rng(0)
    times = np.arange(10_000) / 200
    channels = (20 * np.sin(2 * np.pi * 5 * times) + rng.normal(0, 10, (18, 10_000))).astype(np.float32)
    hum = 4_000 * np.sin(2 * np.pi * 60 * times + 1).astype(np.float32)
    clean, with_hum = (build_raw(x, RawConfig())[:, 500:-500] for x in (channels, channels + hum))
    np.testing.assert_allclose(with_hum, clean, atol=0.02)
    clipped = build_raw(channels + hum, RawConfig(clip=1024.0))[:, 500:-500]
    assert np.abs(clipped - clean).max() > 1  # the overtones of clipped mains fold into the band: why clip is far out
