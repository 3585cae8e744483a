# tests/python/hf_models.py - a tiny model with random weights of every kind that regard.hf is held to.
from __future__ import annotations

import torch
import transformers as t

_SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_TEXT = {**_SIZES, "vocab_size": 96, "max_position_embeddings": 64, "pad_token_id": 0}
_GROUPED = {**_TEXT, "num_key_value_heads": 2, "head_dim": 8, "bos_token_id": 1, "eos_token_id": None}
_EXPERTS = {**_GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}
_IMAGE = {**_SIZES, "image_size": 16, "patch_size": 4}
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 96, "eos_token_id": None}
_PAIR = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "vocab_size": 96,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
_T5 = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 4,
    "vocab_size": 96,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
}
_GEMMA = {**_GROUPED, "sliding_window": 4, "query_pre_attn_scalar": 8}

ENCODERS = {
    "BERT": lambda: t.BertForMaskedLM(t.BertConfig(**_TEXT)),
    "RoBERTa": lambda: t.RobertaForMaskedLM(t.RobertaConfig(**_TEXT)),
    "DistilBERT": lambda: t.DistilBertForMaskedLM(
        t.DistilBertConfig(
            dim=32, hidden_dim=48, n_layers=2, n_heads=4, vocab_size=96, max_position_embeddings=64
        )
    ),
    "ModernBERT": lambda: t.ModernBertForMaskedLM(
        t.ModernBertConfig(
            **_TEXT,
            local_attention=6,
            global_attn_every_n_layers=2,
            bos_token_id=1,
            eos_token_id=2,
            cls_token_id=1,
            sep_token_id=2,
        )
    ),
    "EmbeddingGemma": lambda: t.Gemma3TextModel(
        t.Gemma3TextConfig(
            **_GEMMA, layer_types=["sliding_attention", "full_attention"], use_bidirectional_attention=True
        )
    ),
}
DECODERS = {
    "GPT-2": lambda: t.GPT2LMHeadModel(t.GPT2Config(**_GPT2)),
    "GPT-NeoX": lambda: t.GPTNeoXForCausalLM(t.GPTNeoXConfig(**_TEXT, eos_token_id=None)),
    "Llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**_GROUPED)),
    "Mistral": lambda: t.MistralForCausalLM(t.MistralConfig(**_GROUPED, sliding_window=5)),
    "Qwen2": lambda: t.Qwen2ForCausalLM(
        t.Qwen2Config(**_GROUPED, use_sliding_window=True, sliding_window=4, max_window_layers=1)
    ),
    "Qwen3": lambda: t.Qwen3ForCausalLM(t.Qwen3Config(**_GROUPED)),
    "Gemma 2": lambda: t.Gemma2ForCausalLM(t.Gemma2Config(**_GEMMA, attn_logit_softcapping=5.0)),
    "Gemma 3": lambda: t.Gemma3ForCausalLM(
        t.Gemma3TextConfig(**_GEMMA, layer_types=["sliding_attention", "full_attention"])
    ),
    "Phi-3": lambda: t.Phi3ForCausalLM(t.Phi3Config(**{**_GROUPED, "sliding_window": 6})),
    "OLMo": lambda: t.OlmoForCausalLM(t.OlmoConfig(**_GROUPED)),
    "Mixtral": lambda: t.MixtralForCausalLM(t.MixtralConfig(**_EXPERTS)),
    "GPT-OSS": lambda: t.GptOssForCausalLM(
        t.GptOssConfig(**_EXPERTS, sliding_window=4, layer_types=["sliding_attention", "full_attention"])
    ),
    "Llama 4": lambda: t.Llama4ForCausalLM(
        t.Llama4TextConfig(
            **_EXPERTS,
            intermediate_size_mlp=48,
            attention_chunk_size=4,
            layer_types=["chunked_attention", "full_attention"],
        )
    ),
}
PAIRS = {
    "T5": lambda: t.T5ForConditionalGeneration(t.T5Config(**_T5)),
    "T5Gemma": lambda: t.T5GemmaForConditionalGeneration(
        t.T5GemmaConfig(
            encoder=_GEMMA,
            decoder={**_GEMMA, "cross_attention_hidden_size": 32},
            vocab_size=96,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    ),
    "BART": lambda: t.BartForConditionalGeneration(t.BartConfig(**_PAIR, max_position_embeddings=64)),
    "Marian": lambda: t.MarianMTModel(t.MarianConfig(**_PAIR, max_position_embeddings=64)),
}
IMAGES = {
    "ViT": lambda: t.ViTModel(t.ViTConfig(**_IMAGE)),
    "DINOv2": lambda: t.Dinov2Model(t.Dinov2Config(**_IMAGE)),
    "CLIP vision": lambda: t.CLIPVisionModel(t.CLIPVisionConfig(**_IMAGE)),
    "SigLIP vision": lambda: t.SiglipVisionModel(t.SiglipVisionConfig(**_IMAGE)),
}
BOTH = {
    "CLIP": lambda: t.CLIPModel(
        t.CLIPConfig(text_config={**_TEXT, "eos_token_id": 95}, vision_config=_IMAGE)
    ),
    "SigLIP": lambda: t.SiglipModel(t.SiglipConfig(text_config=_TEXT, vision_config=_IMAGE)),
}
SPEECH = {
    "Whisper": lambda: t.WhisperForConditionalGeneration(
        t.WhisperConfig(
            **_PAIR,
            num_mel_bins=8,
            max_source_positions=16,
            max_target_positions=32,
            suppress_tokens=None,
            begin_suppress_tokens=None,
        )
    ),
}
# These compute with their mask themselves: transformers has no attention interface for them.
OWN_ATTENTION = {
    "BLOOM": lambda **kw: t.AutoModelForCausalLM.from_config(
        t.BloomConfig(hidden_size=32, n_layer=2, n_head=4, vocab_size=96), **kw
    ),
    "MPT": lambda **kw: t.AutoModelForCausalLM.from_config(
        t.MptConfig(d_model=32, n_layers=2, n_heads=4, vocab_size=96, max_seq_len=64), **kw
    ),
    "RoFormer": lambda **kw: t.AutoModel.from_config(t.RoFormerConfig(**_TEXT), **kw),
    "Longformer": lambda **kw: t.AutoModel.from_config(t.LongformerConfig(**_TEXT, attention_window=4), **kw),
    # Its picture's half has the interface, so that transformers lets it be set.
    "Git": lambda **kw: set_later(t.AutoModel.from_config(t.GitConfig(**_TEXT, vision_config=_IMAGE)), **kw),
    "MegatronBERT": lambda **kw: t.AutoModel.from_config(t.MegatronBertConfig(**_TEXT), **kw),
}


def set_later(model, attn_implementation: str):
    model.set_attn_implementation(attn_implementation)
    return model


def build(make) -> torch.nn.Module:
    """The model with weights large enough that attention is far from uniform."""
    torch.manual_seed(0)
    model = make().eval()
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            torch.nn.init.normal_(parameter, std=0.15)
        elif not torch.isfinite(parameter).all():
            torch.nn.init.normal_(parameter, std=0.5)
    return model


def inputs_of(name: str, padding: str | None = None, batch: int = 2) -> dict[str, torch.Tensor]:
    """Random inputs for the model of that name; padding "left", "right", "both" or "holes" for texts."""
    torch.manual_seed(1)
    inputs: dict[str, torch.Tensor] = {}
    if name in SPEECH:
        inputs["input_features"] = torch.randn(batch, 8, 32)
    if name in IMAGES or name in BOTH:
        inputs["pixel_values"] = torch.randn(batch, 3, 16, 16)
    if name in ENCODERS or name in DECODERS or name in PAIRS or name in BOTH:
        inputs["input_ids"] = torch.randint(5, 90, (batch, 12))
        inputs["input_ids"][:, -1] = 95  # CLIP's end of text, which it looks for
        inputs["attention_mask"] = attention_mask(padding, batch)
    if name in PAIRS or name in SPEECH:
        inputs["decoder_input_ids"] = torch.randint(5, 90, (batch, 7))
    return inputs


def attention_mask(padding: str | None, batch: int = 2) -> torch.Tensor:
    mask = torch.ones(batch, 12, dtype=torch.long)
    if padding in ("left", "both"):
        mask[0, :4] = 0
    if padding in ("right", "both"):
        mask[1, -3:] = 0
    if padding == "holes":
        mask[0, 3:5] = 0
    return mask
