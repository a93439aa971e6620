"""A diffusers pipeline whose UNet runs on a unetd server: the pipeline calls this object as it would the UNet.

    pipe = StableDiffusionPipeline.from_pretrained(folder)
    pipe.unet = RemoteUNet(pipe.unet.config, "127.0.0.1:8001", "sd15", variant="lean")
    pipe("a photograph of an astronaut riding a horse").images[0]

Needs torch, diffusers, tritonclient[grpc] and ml_dtypes. Text encoder, scheduler and VAE stay in this process.
"""

import ml_dtypes
import torch
import tritonclient.grpc as triton
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput

WIRE = {
    torch.float32: "FP32",
    torch.float16: "FP16",
    torch.bfloat16: "BF16",
    torch.int64: "INT64",
    torch.int32: "INT32",
    torch.bool: "BOOL",
}


class RemoteUNet(torch.nn.Module):
    """`config` is the UNet's own (pipelines read sizes from it), `model` and `variant` are the server's names."""

    def __init__(self, config, address, model, variant="", dtype=torch.float32):
        super().__init__()
        self.config = config
        self.dtype = dtype
        self.device = torch.device("cpu")
        self.client = triton.InferenceServerClient(address)
        self.model = model
        self.parameters_of_request = {"variant": variant} if variant else None

    def forward(
        self,
        sample,
        timestep,
        encoder_hidden_states,
        class_labels=None,
        timestep_cond=None,
        attention_mask=None,
        cross_attention_kwargs=None,
        added_cond_kwargs=None,
        down_block_additional_residuals=None,
        mid_block_additional_residual=None,
        down_intrablock_additional_residuals=None,
        encoder_attention_mask=None,
        return_dict=True,
    ):
        if cross_attention_kwargs:
            raise ValueError("cross_attention_kwargs belong into the server's config: bind processors there")
        inputs = {
            "sample": sample,
            "timestep": torch.as_tensor(timestep).reshape(-1),
            "encoder_hidden_states": encoder_hidden_states,
            "class_labels": class_labels,
            "timestep_cond": timestep_cond,
            "attention_mask": attention_mask,
            "encoder_attention_mask": encoder_attention_mask,
            "mid_block_additional_residual": mid_block_additional_residual,
            **(added_cond_kwargs or {}),  # SDXL: text_embeds and time_ids
        }
        for name, residuals in {
            "down_block_additional_residuals": down_block_additional_residuals,
            "down_intrablock_additional_residuals": down_intrablock_additional_residuals,
        }.items():
            inputs.update({f"{name}.{i}": residual for i, residual in enumerate(residuals or [])})

        tensors = [tensor(name, value) for name, value in inputs.items() if value is not None]
        answer = self.client.infer(self.model, tensors, parameters=self.parameters_of_request)
        out = answer.as_numpy("out_sample").astype("float32")  # numpy has no bfloat16 of its own
        out = torch.from_numpy(out).to(sample.device, sample.dtype)
        return UNet2DConditionOutput(sample=out) if return_dict else (out,)


def tensor(name, value):
    """A tensor of torch as one of tritonclient."""
    value = value.detach().cpu().contiguous()
    if value.dtype == torch.float64:  # a pipeline's own arithmetic; the server casts to its model's dtype
        value = value.float()
    array = value.float().numpy().astype(ml_dtypes.bfloat16) if value.dtype == torch.bfloat16 else value.numpy()
    result = triton.InferInput(name, list(value.shape), WIRE[value.dtype])
    result.set_data_from_numpy(array)
    return result
