"""The model option `conv`: what a client sees of it."""

import numpy as np
import pytest
from goldens import assert_equal_to_diffusers
from unetd_process import DIGITS, Unetd, check
from wire import Api, digits_inputs, infer

CONVOLUTIONS = ("auto", "direct", "winograd")


@pytest.fixture(scope="module")
def algorithms(tmp_path_factory):
    """The digits by each algorithm, and at two sizes."""
    models = [{**DIGITS, "name": conv, "conv": conv} for conv in CONVOLUTIONS]
    models.append({**DIGITS, "name": "sizes", "shapes": [[16, 16], [48, 48]]})
    server = Unetd(tmp_path_factory.mktemp("conv"), models)
    yield server
    assert server.stop() == 0, server.log()[-8000:]


def described(server, model):
    api = Api(server.channel())
    return api.call("Admin", "DescribeModel")(api.message("DescribeModelRequest")(model=model))


def by_winograd(plan):
    return sum(count for kernel, count in plan.convolutions.items() if kernel.startswith("winograd"))


@pytest.mark.parametrize("conv", CONVOLUTIONS)
def test_every_algorithm_is_served_and_told(algorithms, conv, digit):
    client = algorithms.triton()
    config = client.get_model_config(conv).config
    assert config.parameters["conv"].string_value == conv
    description = described(algorithms, conv)
    assert description.model.conv == conv
    (plan,) = description.plans
    assert (by_winograd(plan) > 0) == (conv != "direct")
    assert_equal_to_diffusers(infer(client, conv, digit.inputs), digit.output)


def test_the_algorithms_differ(algorithms):
    """In bytes and bits: else nothing above was tried."""
    packed = [described(algorithms, conv).plans[0].packed_bytes for conv in CONVOLUTIONS]
    assert packed[1] < packed[0] < packed[2]
    client = algorithms.triton()
    outputs = [infer(client, conv, digits_inputs(16)) for conv in CONVOLUTIONS]
    assert not np.array_equal(outputs[0], outputs[1]) and not np.array_equal(outputs[0], outputs[2])


def test_two_sizes_pack_each_weight_once(algorithms):
    plans = described(algorithms, "sizes").plans
    assert [plan.shape.split()[0] for plan in plans] == ["16x16", "48x48"]
    assert plans[0].packed_bytes == plans[1].packed_bytes
    assert plans[0].convolutions == plans[1].convolutions

    def weights():
        return algorithms.metric("unetd_memory_bytes", account="weights")

    client = algorithms.triton()
    before = weights()
    for side in (8, 24, 64):  # that nobody declared
        assert infer(client, "sizes", digits_inputs(side)).shape == (1, 1, side, side)
    assert weights() == before


def test_check_says_what_convolves(tmp_path):
    done = check(tmp_path, {"models": [{**DIGITS, "conv": "winograd"}]})
    assert done.returncode == 0, done.stderr
    assert "float32, conv winograd, backend cpu" in done.stdout
    assert " convolutions by winograd F(" in done.stdout
