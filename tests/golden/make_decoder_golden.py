# tests/golden/make_decoder_golden.py - small random decoders and what transformers makes of some tokens.
"""Run: pip install -r tests/requirements.txt -r tests/requirements-torch.txt; python tests/golden/make_decoder_golden.py

Writes tests/golden/decoder: NAME.safetensors (bfloat16 weights that are exact in float16 too), NAME.gguf, NAME.json (cases:
config.json, prompts, and which rows of the logits are kept) and NAME.logits (those rows, case after case, float32). Truth is
transformers' eager model in float64; "error_f32" is the largest error of the same model in float32, over all logits.
"""
import copy
import json
import pathlib

import gguf
import numpy
import safetensors.torch
import torch
import transformers

FOLDER = pathlib.Path(__file__).parent / "decoder"
LENGTHS = (1, 9, 45)
LLAMA = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "initializer_range": 0.3,
}


def rope(kind, **parameters):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 500.0, **parameters}}


LLAMA3 = rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
YARN = rope("yarn", factor=4.0, original_max_position_embeddings=16)
MLA_YARN = rope("yarn", factor=4.0, original_max_position_embeddings=16, mscale=1.0, mscale_all_dim=0.5, truncate=False)
GPT2 = {"vocab_size": 128, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.3}

# Name: (what the weights are made for, changes of the configuration that the same weights are run with).
MODELS = {
    "gpt2": (
        transformers.GPT2Config(**GPT2, bos_token_id=None, eos_token_id=None),
        [{}, {"activation_function": "gelu"}, {"activation_function": "relu"}, {"layer_norm_epsilon": 0.1}],
    ),
    "llama": (
        transformers.LlamaConfig(**LLAMA, tie_word_embeddings=False),
        [LLAMA3, rope("default"), rope("linear", factor=3.0), YARN, MLA_YARN],
    ),
    "mistral": (
        transformers.MistralConfig(**LLAMA, head_dim=12, sliding_window=8, tie_word_embeddings=False),
        [{}, {"sliding_window": None}],
    ),
    "qwen2": (transformers.Qwen2Config(**LLAMA, tie_word_embeddings=True), [{}]),
    "qwen2_untied": (transformers.Qwen2Config(**LLAMA, tie_word_embeddings=False), [rope("default")]),
}


def exact(x):
    """The nearest number that both bfloat16 and float16 have."""
    x = x.bfloat16().float()
    return torch.where(x.abs() < 2.0**-16, torch.zeros(()), x)


def transformers_4(config):
    """config.json as transformers 4 writes it."""
    config = copy.deepcopy(config)
    parameters = config.pop("rope_parameters", None)
    if parameters is not None:
        config["rope_theta"] = parameters.pop("rope_theta")
        config["rope_scaling"] = None if parameters["rope_type"] == "default" else parameters
    return config


def logits_of(model, prompts):
    with torch.inference_mode():
        return [model(torch.tensor([ids])).logits[0] for ids in prompts]


def case(model, generator):
    """Prompts, their rows that are kept (all but the last at random), and the logits of those."""
    prompts = [torch.randint(0, model.config.vocab_size, (n,), generator=generator).tolist() for n in LENGTHS]
    single = logits_of(model.float(), prompts)
    truth = logits_of(model.double(), prompts)
    error = max(float((a - b).abs().max()) for a, b in zip(single, truth))
    entries, kept = [], []
    for ids, logits in zip(prompts, truth):
        others = torch.randperm(len(ids) - 1, generator=generator)[:3].tolist() if len(ids) > 1 else []
        rows = sorted(others) + [len(ids) - 1]
        entries.append({"ids": ids, "rows": rows})
        kept.append(logits[rows].numpy().astype("<f4"))
    return {"error_f32": error, "prompts": entries}, numpy.concatenate(kept)


def write_case_files(name, cases, logits):
    body = ",\n".join(json.dumps(each, separators=(",", ":")) for each in cases)
    (FOLDER / f"{name}.json").write_text(
        json.dumps({"torch": torch.__version__, "transformers": transformers.__version__})[:-1]
        + ',\n"cases": [\n' + body + "\n]}\n"
    )
    numpy.concatenate(logits).tofile(FOLDER / f"{name}.logits")


def random_model(config, generator):
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            noise = 0.3 * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(exact(noise + 1 if parameter.dim() == 1 and parameter.mean() == 1 else noise))
    return model


def make(name, config, changes, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = random_model(config, generator).state_dict()
    tied = config.tie_word_embeddings
    safetensors.torch.save_file(
        {key: value.bfloat16() for key, value in weights.items() if not (tied and key == "lm_head.weight")},
        FOLDER / f"{name}.safetensors",
    )
    cases, logits = [], []
    for change in changes:
        # What is changed is read anew: rotary frequencies are made where a model is.
        changed = type(config)(**(config.to_dict() | copy.deepcopy(change)))
        model = transformers.AutoModelForCausalLM.from_config(changed, attn_implementation="eager").eval()
        model.load_state_dict(weights)
        entry, rows = case(model, generator)
        written = json.loads(changed.to_json_string())
        cases.append({"config": written, "config_4": transformers_4(written)} | entry)
        logits.append(rows)
    write_case_files(name, cases, logits)


# What each matrix of the GGUF models is stored as, layer by layer.
KINDS = {
    "attn_q": ("Q4_K", "F16"),
    "attn_k": ("Q6_K", "Q8_0"),
    "attn_v": ("Q6_K", "BF16"),
    "attn_output": ("Q5_0", "Q4_0"),
    "ffn_gate": ("Q4_0", "Q4_K"),
    "ffn_up": ("Q4_0", "Q4_1"),
    "ffn_down": ("Q4_1", "Q8_0"),
}
GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


def blocks_of(matrix, kind, random):
    """`matrix` in blocks; random blocks of its size, with sane scales, where PyPI's gguf cannot quantise."""
    if kind.name == "F32":
        return matrix
    if kind.name not in ("Q4_K", "Q6_K"):
        return gguf.quants.quantize(matrix, kind)
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, size=(matrix.size // elements, size), dtype=numpy.uint8)
    at, most = {"Q4_K": (slice(0, 4), (0.0006, 0.005)), "Q6_K": (slice(208, 210), (0.0002,))}[kind.name]
    blocks[:, at] = (numpy.array(most) * random.uniform(0.5, 1, (len(blocks), 1))).astype("<f2").view(numpy.uint8)
    return blocks.reshape(matrix.shape[0], -1)


def neighbours(matrix, heads):
    """Rows of each head from the order of transformers to that of Llama's own files, pairs side by side."""
    return matrix.reshape(heads, 2, -1, *matrix.shape[1:]).swapaxes(1, 2).reshape(matrix.shape)


def halves(matrix, heads):
    return matrix.reshape(heads, -1, 2, *matrix.shape[1:]).swapaxes(1, 2).reshape(matrix.shape)


def write_gguf_config(writer, config):
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    parameters = config.rope_parameters
    writer.add_rope_freq_base(parameters["rope_theta"])
    if parameters["rope_type"] != "default":
        writer.add_rope_scaling_type(gguf.RopeScalingType(parameters["rope_type"]))
        writer.add_rope_scaling_factor(parameters["factor"])
        writer.add_rope_scaling_orig_ctx_len(parameters["original_max_position_embeddings"])


def gguf_name(name):
    """The tensor's name in GGUF, without ".weight", and its layer."""
    stem = name.rpartition(".")[0]
    if not stem.startswith("model.layers."):
        return GGUF_NAMES[stem], 0
    layer, part = stem.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{GGUF_NAMES[part]}", int(layer)


def make_gguf(architecture, config, seed):
    """The model's matrices become what their blocks mean."""
    random, generator = numpy.random.default_rng(seed), torch.Generator().manual_seed(seed)
    model = random_model(config, generator)
    name = f"gguf_{architecture}"
    writer = gguf.GGUFWriter(FOLDER / f"{name}.gguf", architecture)
    write_gguf_config(writer, config)
    kinds = KINDS | {"token_embd": ("Q6_K",), "output": ("Q5_0",)}
    weights = model.state_dict()
    for key, tensor in weights.items():
        if config.tie_word_embeddings and key == "lm_head.weight":
            continue
        stem, layer = gguf_name(key)
        heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(stem.rpartition(".")[2])
        turned = heads if architecture == "llama" else None
        matrix = tensor.numpy() * (0.3 if tensor.dim() == 2 else 1)
        matrix = neighbours(matrix, turned) if turned else matrix
        kind = gguf.GGMLQuantizationType[kinds[stem.rpartition(".")[2]][layer] if tensor.dim() == 2 else "F32"]
        blocks = blocks_of(numpy.ascontiguousarray(matrix), kind, random)
        writer.add_tensor(f"{stem}.{key.rpartition('.')[2]}", blocks, raw_dtype=kind)
        numbers = (blocks if kind.name == "F32" else gguf.quants.dequantize(blocks, kind)).reshape(tensor.shape)
        weights[key] = torch.tensor(numpy.ascontiguousarray(halves(numbers, turned) if turned else numbers))
    if config.tie_word_embeddings:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model.load_state_dict(weights)
    entry, rows = case(model, generator)
    write_case_files(name, [entry], [rows])


def main():
    FOLDER.mkdir(exist_ok=True)
    for seed, (name, (config, changes)) in enumerate(MODELS.items()):
        make(name, config, changes, seed)
    wide = LLAMA | {"hidden_size": 256, "num_attention_heads": 4, "head_dim": 8, "intermediate_size": 32, "vocab_size": 64}
    make_gguf("llama", transformers.LlamaConfig(**wide, tie_word_embeddings=False), 10)
    make_gguf("qwen2", transformers.Qwen2Config(**wide, tie_word_embeddings=True, **YARN), 11)


main()
