"""Variants: pinned, by id, by weight; and same bits whatever the batch, the threads and the start."""

import collections

import grpc
import numpy as np
import pytest
from conftest import PROCESSORS, variants
from goldens import Call, assert_equal_to_diffusers, calls_of, model_of
from unetd_process import DIGITS, SANITIZED
from wire import Api, infer, infer_request, refusal, triton_inputs

NAMES = ["sdpa", *PROCESSORS]


def variant_of(client, arrays, model="variants", **options):
    response = client.infer(model, triton_inputs(arrays), **options).get_response()
    return response.parameters["variant"].string_param


def rows(arrays, *numbers):
    """These rows of the inputs, in this order."""
    return {name: np.ascontiguousarray(array[list(numbers)]) for name, array in arrays.items()}


@pytest.fixture(scope="module")
def eight():
    """Eight different rows of the digits model, each with its own timestep."""
    rng = np.random.default_rng(8)
    return {
        "sample": rng.standard_normal((8, 1, 16, 16), np.float32),
        "timestep": np.arange(8) * 120 + 3,
        "encoder_hidden_states": rng.standard_normal((8, 4, 64), np.float32),
    }


@pytest.mark.parametrize("name", NAMES)
def test_pinned(client, digit, name):
    assert variant_of(client, digit.inputs, parameters={"variant": name}) == name
    got = infer(client, "variants", digit.inputs, parameters={"variant": name})
    assert_equal_to_diffusers(got, digit.output)


def test_variants_agree_and_are_not_the_same(client, eight):
    # Large enough for the softmax of sdpa to go by blocks of keys: another order of sums.
    large = {**rows(eight, 0), "sample": np.random.default_rng(9).standard_normal((1, 1, 64, 64), np.float32)}
    got = {name: infer(client, "variants", large, parameters={"variant": name}) for name in NAMES}
    for name in NAMES[1:]:
        assert np.abs(got[name] - got["sdpa"]).max() <= 1e-3
    assert got["math"].tobytes() != got["sdpa"].tobytes()


def test_pinned_denoise(api, eight):
    fields = {
        "model": "variants",
        "num_inference_steps": 8,
        "shape": [2, 1, 16, 16],
        "seeds": [1, 2],
        "conditions": {"encoder_hidden_states": eight["encoder_hidden_states"][:2]},
    }
    samples = {}
    for name in NAMES:
        events = list(api.denoise(**fields, variant=name))
        assert events[0].accepted.variant == events[-1].result.variant == name
        samples[name] = np.frombuffer(events[-1].result.sample.raw, np.float32)
    for name in NAMES[1:]:
        assert np.abs(samples[name] - samples["sdpa"]).max() <= 1e-3


def test_unknown_variant(stub, digit):
    request = infer_request("variants", digit.inputs)
    request.parameters["variant"].string_param = "nobody"
    code, message = refusal(stub.ModelInfer, request)
    assert code == grpc.StatusCode.NOT_FOUND
    assert "'nobody'" in message
    assert "sliced" in message  # what there is


def test_the_same_id_gets_the_same_variant(client, api, digit, start):
    ids = [f"user-{number}" for number in range(24)]
    chosen = {name: variant_of(client, digit.inputs, request_id=name) for name in ids}
    assert len(set(chosen.values())) > 1
    assert chosen == {name: variant_of(client, digit.inputs, request_id=name) for name in ids}
    # Denoise goes by the same rule.
    states = {"encoder_hidden_states": digit.inputs["encoder_hidden_states"][:1]}
    for name in ids[:6]:
        fields = {"shape": [1, 1, 16, 16], "seeds": [0], "conditions": states, "num_inference_steps": 1}
        assert next(api.denoise(model="variants", id=name, **fields)).accepted.variant == chosen[name]
    # Another process, another replica: the same.
    other = start([{**DIGITS, "name": "variants", "variants": variants()}]).triton()
    assert chosen == {name: variant_of(other, digit.inputs, request_id=name) for name in ids}


def test_weights(start, digit):
    listed = variants(sdpa=60, math=30, fused=10, sliced=0)
    server = start([{**DIGITS, "name": "variants", "variants": listed}])
    client = server.triton()
    arrays = rows(digit.inputs, 0)
    for options in ({}, {"by id": True}):
        count = 60 if SANITIZED else 300
        drawn = collections.Counter(
            variant_of(client, arrays, request_id=f"id-{number}" if options else "") for number in range(count)
        )
        assert drawn["sliced"] == 0
        # Six standard deviations of a binomial draw.
        for name, share in {"sdpa": 0.6, "math": 0.3, "fused": 0.1}.items():
            assert abs(drawn[name] - share * count) <= 6 * np.sqrt(count * share * (1 - share))
    assert variant_of(client, arrays, parameters={"variant": "sliced"}) == "sliced"  # weight 0: when pinned
    shares = Api(server.channel())
    (model,) = shares.call("Admin", "ListModels")(shares.message("ListModelsRequest")()).models
    assert [round(variant.share, 6) for variant in model.variants] == [0.6, 0.3, 0.1, 0.0]


# Promise: a row's bits depend on the row alone.


@pytest.mark.parametrize("name", NAMES)
def test_same_bits_alone_and_in_any_batch(client, eight, name):
    run = lambda arrays: infer(client, "variants", arrays, parameters={"variant": name})
    alone = [run(rows(eight, number))[0].tobytes() for number in range(8)]
    assert len(set(alone)) == 8
    for batch in ([0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0], [3, 3, 3], [5, 0], [1, 4, 2, 7, 6]):
        together = run(rows(eight, *batch))
        assert [row.tobytes() for row in together] == [alone[number] for number in batch]


FAMILIES = [("sd15", "odder"), ("sdxl", "odd"), ("masks", "both"), ("class_labels", "rows")]


@pytest.mark.parametrize("model,call", FAMILIES)
def test_same_bits_of_other_families(client, model, call):
    inputs = Call(calls_of(model)[call]).inputs
    count = len(inputs["sample"])
    spread = {name: np.repeat(array, count, 0) if len(array) == 1 else array for name, array in inputs.items()}
    together = infer(client, model, spread)
    for number in range(count):
        assert infer(client, model, rows(spread, number))[0].tobytes() == together[number].tobytes()


def test_same_bits_with_one_thread_two_threads_and_after_a_restart(start, client, eight):
    models = [{**DIGITS, "name": "variants", "variants": variants()}, model_of("sdxl")]
    sdxl = Call(calls_of("sdxl")["odd"]).inputs
    answers = []
    for threads in (1, 2, 2):
        other = start(models, backends=[{"name": "cpu", "options": {"threads": threads}}]).triton()
        answers.append([infer(other, "variants", eight, parameters={"variant": name}) for name in NAMES])
        answers[-1].append(infer(other, "sdxl", sdxl))
    shared = [infer(client, "variants", eight, parameters={"variant": name}) for name in NAMES]
    answers.append([*shared, infer(client, "sdxl", sdxl)])
    assert len({tuple(array.tobytes() for array in answer) for answer in answers}) == 1


def test_same_bits_beside_other_traffic(client, server, api, eight):
    quiet = infer(client, "digits", eight)
    fields = {"shape": [8, 1, 16, 16], "seeds": range(8), "num_inference_steps": 1000}
    states = {"encoder_hidden_states": eight["encoder_hidden_states"]}
    busy = [api.denoise(model=model, conditions=states, **fields) for model in ("digits", "variants")]
    for call in busy:
        assert next(call).HasField("accepted")
    for _ in range(5):
        assert infer(client, "digits", eight).tobytes() == quiet.tobytes()
    assert server.busy()["running"] == 2
    for call in busy:
        call.cancel()
