"""A stand-in for the UNet of a diffusers pipeline. Needs torch and diffusers."""

from __future__ import annotations

import inspect
import json
import uuid
from types import SimpleNamespace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import grpc
import torch
from diffusers import UNet2DConditionModel
from diffusers.configuration_utils import FrozenDict
from diffusers.models.attention import GatedSelfAttentionDense
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput

from unetd import _protocol, _tensors, errors
from unetd._client import Client
from unetd.retry import Retry


class RemoteUNet(torch.nn.Module):
    """A model's UNet on the server, called as a pipeline calls its `unet`. One call is one forward pass.

    `address` is host:port, `model` and `variant` are names of the server's config. Without a variant the server draws
    one by their weights, once for each object: all steps of a picture are to run in the same one. `variant_that_ran` is
    the latest answer's. `timeout` is in seconds for each forward pass, `priority` the server's (1: highest).
    `credentials` are for a TLS proxy before the server.

    `dtype` is what pipelines make their inputs in, by default what the server computes in. Tensors may be on any
    device: they travel from there and come back to it. Nothing can be differentiated through it.
    """

    _anchor: torch.Tensor

    def __init__(
        self,
        address: str,
        model: str,
        variant: Optional[str] = None,
        *,
        dtype: Optional[torch.dtype] = None,
        timeout: Optional[float] = None,
        retry: Optional[Retry] = None,
        priority: Optional[int] = None,
        credentials: Optional[grpc.ChannelCredentials] = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.timeout = timeout
        self.priority = priority
        self.variant_that_ran: Optional[str] = None
        self._id = f"remote-unet-{uuid.uuid4().hex}"
        self._client = Client(address, timeout=timeout, retry=retry, credentials=credentials)
        self._description = self._client.describe(model)
        self._internal_dict = _config(json.loads(self._description.config_json))  # pipelines correct it under this name
        self._variant: Optional[str] = None
        self.set_variant(variant)
        self._add_what_pipelines_look_into()
        # `dtype` and `device` are this tensor's, so that every way to move a module works.
        dtype = dtype or getattr(torch, self._description.model.dtype)
        self.register_buffer("_anchor", torch.empty(0, dtype=dtype), persistent=False)

    @property
    def config(self) -> FrozenDict:
        """The config of the checkpoint that the server has loaded, with diffusers' defaults."""
        return self._internal_dict

    @property
    def dtype(self) -> torch.dtype:
        return self._anchor.dtype

    @property
    def device(self) -> torch.device:
        return self._anchor.device

    @property
    def variants(self) -> List[str]:
        """The names of the model's variants."""
        return [one.name for one in self._description.model.variants]

    @property
    def variant(self) -> Optional[str]:
        """The variant that is pinned, or None."""
        return self._variant

    def set_variant(self, name: Optional[str]) -> None:
        """Pins a variant from the next forward pass on; None: the server draws one."""
        if name is not None and name not in self.variants:
            raise errors.NotFound(f"model {self.model!r} has no variant {name!r}; it has: {', '.join(self.variants)}")
        self._variant = name

    @property
    def attn_processors(self) -> Dict[str, str]:
        """The processor of every attention layer, by the names that diffusers gives to both.

        Of the pinned variant, else of the one that ran last.
        """
        variant = self._variant or self.variant_that_ran or (self.variants[0] if len(self.variants) == 1 else None)
        if variant is None:
            raise ValueError(f"set_variant first: {', '.join(self.variants)}")
        return {
            f"{layer.name}.processor": binding.processor
            for layer in self._description.layers
            for binding in layer.bindings
            if binding.variant == variant
        }

    def set_attn_processor(self, processor: Any) -> None:
        raise NotImplementedError("the server's config binds attention processors; set_variant chooses among them")

    def forward(
        self,
        sample: torch.Tensor,
        timestep: Union[torch.Tensor, float, int],
        encoder_hidden_states: Optional[torch.Tensor] = None,
        class_labels: Optional[torch.Tensor] = None,
        timestep_cond: Optional[torch.Tensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        cross_attention_kwargs: Optional[Mapping[str, Any]] = None,
        added_cond_kwargs: Optional[Mapping[str, Any]] = None,
        down_block_additional_residuals: Optional[Sequence[torch.Tensor]] = None,
        mid_block_additional_residual: Optional[torch.Tensor] = None,
        down_intrablock_additional_residuals: Optional[Sequence[torch.Tensor]] = None,
        encoder_attention_mask: Optional[torch.Tensor] = None,
        return_dict: bool = True,
    ) -> Union[UNet2DConditionOutput, Tuple[torch.Tensor]]:
        inputs = {
            "sample": sample,
            "timestep": torch.as_tensor(timestep).reshape(-1),
            "encoder_hidden_states": encoder_hidden_states,
            "class_labels": class_labels,
            "timestep_cond": timestep_cond,
            "attention_mask": attention_mask,
            "encoder_attention_mask": encoder_attention_mask,
            "down_block_additional_residuals": down_block_additional_residuals,
            "mid_block_additional_residual": mid_block_additional_residual,
            "down_intrablock_additional_residuals": down_intrablock_additional_residuals,
            **(added_cond_kwargs or {}),
            **self._gligen(cross_attention_kwargs or {}),
        }
        if torch.is_grad_enabled() and any(one.requires_grad for one in inputs.values() if _tensors.is_torch(one)):
            raise RuntimeError("the server computes no gradients: call under torch.no_grad()")
        out = self._infer(inputs, like=sample)
        return UNet2DConditionOutput(sample=out) if return_dict else (out,)

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def _infer(self, inputs: Mapping[str, Any], like: torch.Tensor) -> torch.Tensor:
        request = _protocol.message("inference.ModelInferRequest")(model_name=self.model, id=self._id)
        if self._variant is not None:
            request.parameters["variant"].string_param = self._variant
        if self.priority is not None:
            request.parameters["priority"].uint64_param = self.priority
        for name, value in _flat(inputs):
            datatype, shape, raw = _tensors.encode(value)
            request.inputs.add(name=name, datatype=datatype, shape=shape)
            request.raw_input_contents.append(raw)
        response = self._client.unary("inference.GRPCInferenceService", "ModelInfer", request, self.timeout)
        self.variant_that_ran = response.parameters["variant"].string_param
        (output,), (raw,) = response.outputs, response.raw_output_contents
        out = _tensors.decode(output.datatype, output.shape, raw, like)
        assert isinstance(out, torch.Tensor)
        return out.to(like.dtype)  # float64 came back as float32

    def _gligen(self, cross_attention_kwargs: Mapping[str, Any]) -> Dict[str, torch.Tensor]:
        """The inputs `gligen.*`. Anything else would be lost without a word."""
        lost = cross_attention_kwargs.keys() - {"gligen"}
        if lost:
            raise ValueError(f"cross_attention_kwargs: the server takes only gligen, got {', '.join(sorted(lost))}")
        if not self.fuser_is_enabled:
            return {}
        return {f"gligen.{name}": value for name, value in cross_attention_kwargs.get("gligen", {}).items()}

    @property
    def fuser_is_enabled(self) -> bool:
        """Whether GLIGEN's boxes count: its pipelines switch them off after the first steps."""
        fuser = self._modules.get("fuser")
        return fuser is None or bool(fuser.enabled)

    def _add_what_pipelines_look_into(self) -> None:
        if self.config["addition_embed_type"] == "text_time":  # Stable Diffusion XL checks the size of its time ids
            width = self.config["projection_class_embeddings_input_dim"]
            self.add_embedding = SimpleNamespace(linear_1=SimpleNamespace(in_features=width))
        if self.config["attention_type"] != "default":  # GLIGEN's pipelines set `enabled` on modules of this class
            with torch.device("meta"):
                self.fuser = GatedSelfAttentionDense(query_dim=1, context_dim=1, n_heads=1, d_head=1)
            for weights in (self.fuser._modules, self.fuser._parameters, self.fuser._buffers):
                weights.clear()


def _config(given: Mapping[str, Any]) -> FrozenDict:
    """As `UNet2DConditionModel.from_config` completes it, without a model."""
    signature = inspect.signature(UNet2DConditionModel.__init__)
    defaults = {key: one.default for key, one in signature.parameters.items() if one.default is not one.empty}
    return FrozenDict({**defaults, **given})  # type: ignore[no-untyped-call]


def _flat(inputs: Mapping[str, Any]) -> List[Tuple[str, Any]]:
    """Names and tensors as they travel: those of a list are numbered, and None is left out."""
    flat: List[Tuple[str, Any]] = []
    for name, value in inputs.items():
        if isinstance(value, (list, tuple)):
            flat += [(f"{name}.{number}", one) for number, one in enumerate(value)]
        elif value is not None:
            flat.append((name, value))
    return flat
