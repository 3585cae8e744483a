# tests/python/sentencepiece_test.py - models with SentencePiece's BPE: prompts and answers as `tokenizers` and transformers have
# them, from Hugging Face's files and from GGUF.
import json
import random

import pytest

gguf = pytest.importorskip("gguf")
tokenizers = pytest.importorskip("tokenizers")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import regard  # noqa: E402
from transformers.convert_slow_tokenizer import generate_merges  # noqa: E402

BLANK = "\u2581"
SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
CORPUS = [
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife.",
    "I'll say it's 12345 times better than they've said; we'd go, you're right, DON'T you?",
    "Grüße aus Köln! Les élèves étudiaient à l'école. 漢字とひらがな。 Привет, мир 🙂\n\tfor (int i = 0; i < 10; ++i) {}\r\n",
]
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
    "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
PIPELINES = {
    "prepend": (("Prepend", "Replace"), None, True),
    "first": ((), "first", True),
    "always": ((), "always", True),
    "never": ((), "never", False),
    "gemma": (("Replace",), None, False),
}


@pytest.fixture(scope="module")
def scores():
    """Pieces and their scores, of which that of a pair is above all that it is a part of."""
    trained = tokenizers.Tokenizer(tokenizers.models.BPE())
    trained.normalizer = tokenizers.normalizers.Replace(" ", BLANK)
    trained.train_from_iterator(CORPUS * 3, tokenizers.trainers.BpeTrainer(vocab_size=400, show_progress=False))
    pieces = sorted(trained.get_vocab().items(), key=lambda each: each[1])
    return {piece: -float(rank) for piece, rank in pieces}


def make_tokenizer(scores, pipeline):
    normalizers, scheme, strips = PIPELINES[pipeline]
    vocab = {piece: i for i, piece in enumerate([*SPECIAL, *BYTES, *scores])}
    merges = generate_merges(vocab, scores)
    t = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    steps = {"Prepend": tokenizers.normalizers.Prepend(BLANK), "Replace": tokenizers.normalizers.Replace(" ", BLANK)}
    if normalizers:
        t.normalizer = tokenizers.normalizers.Sequence([steps[name] for name in normalizers])
    if scheme:
        t.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(replacement=BLANK, prepend_scheme=scheme, split=False)
    decoders = tokenizers.decoders
    strip = [decoders.Strip(" ", 1, 0)] if strips else []
    t.decoder = decoders.Sequence([decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    t.add_special_tokens([tokenizers.AddedToken(text, normalized=False, special=True) for text in SPECIAL])
    return t


def llama():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = transformers.LlamaConfig(vocab_size=800, max_position_embeddings=512, initializer_range=0.4, **sizes)
    return transformers.LlamaForCausalLM(config)


def reference(tokenizer):
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.chat_template = LLAMA2
    return fast


@pytest.fixture(scope="module", params=PIPELINES)
def folder(request, scores, tmp_path_factory):
    """A model of Hugging Face's, and the tokenizer that transformers has for it."""
    path = tmp_path_factory.mktemp(request.param)
    llama().save_pretrained(path)
    tokenizer = make_tokenizer(scores, request.param)
    tokenizer.save(str(path / "tokenizer.json"))
    named = {"chat_template": LLAMA2, "bos_token": "<s>", "eos_token": "</s>"}
    (path / "tokenizer_config.json").write_text(json.dumps(named))
    return str(path), reference(tokenizer)


@pytest.fixture(scope="module")
def gguf_file(scores, tmp_path_factory):
    """A GGUF file with the same vocabulary; "prepend" is what llama.cpp does."""
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(512)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text.encode() for text in [*SPECIAL, *BYTES, *scores]])
    writer.add_token_scores([0.0] * (len(SPECIAL) + len(BYTES)) + list(scores.values()))
    writer.add_token_types([2, 3, 3] + [6] * len(BYTES) + [1] * len(scores))
    writer.add_chat_template(LLAMA2)
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    layer = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "mlp.up_proj": "ffn_up"}
    layer |= {"self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.down_proj": "ffn_down"}
    layer |= {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    names |= {f"model.layers.0.{name}": f"blk.0.{to}" for name, to in layer.items()}
    for name, weight in llama().state_dict().items():
        writer.add_tensor(names[name.removesuffix(".weight")] + ".weight", weight.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path), reference(make_tokenizer(scores, "prepend"))


def texts(seed):
    rng = random.Random(seed)
    pool = list("abcXYZ 0189''\n\t\r  .,!?-_éßñ漢ひ🙂\u00a0\u3000½٣\u0301") + ["  ", "\n\n", BLANK, "<s>", "</s>", "<0x41>", " the", "ing"]
    yield from CORPUS
    for _ in range(150):
        yield "".join(rng.choice(pool) for _ in range(rng.randint(1, 20)))


def check_prompts(model, fast):
    compared = 0
    for text in texts(1):
        assert regard.generate(text, model=model, raw=True).prompt_ids == fast.encode(text, add_special_tokens=False), repr(text)
        compared += 1
    assert compared == 153


def check_chat(model, fast):
    for system in ([], [{"role": "system", "content": "Be brief."}]):
        messages = [*system, {"role": "user", "content": " Why is it a truth?\n"}]
        for more in ([], [{"role": "assistant", "content": "It is."}, {"role": "user", "content": "漢🙂  you're"}]):
            want = fast.apply_chat_template(messages + more, return_dict=True)["input_ids"]
            assert regard.generate(messages + more, model=model).prompt_ids == want


def check_answers(model, fast):
    """An answer is a text of its own; what continues a raw prompt is not."""
    seen = set()
    for seed in range(12):
        answer = regard.generate("Why?", model=model, seed=seed, max_tokens=4)
        text = "".join(answer)
        ids = [each for each in answer.ids if each != fast.eos_token_id]
        if "\ufffd" in text:
            continue  # bytes that are no text: tokenizers says so of each, we of each that begins one
        assert text == fast.decode(ids, skip_special_tokens=True)
        going = regard.generate("Why?", model=model, raw=True, seed=seed, max_tokens=4)
        text = "".join(going)
        ids = [each for each in going.ids if each != fast.eos_token_id]
        if "\ufffd" not in text:
            assert fast.decode(going.prompt_ids + ids, skip_special_tokens=True) == "Why?" + text
        seen.add(text)
    assert len(seen) > 3


def test_a_folder_is_read_as_transformers_reads_it(folder):
    check_prompts(*folder)
    check_chat(*folder)
    check_answers(*folder)


def test_a_gguf_file_is_read_as_llama_cpp_reads_it(gguf_file):
    check_prompts(*gguf_file)
    check_chat(*gguf_file)
    check_answers(*gguf_file)
