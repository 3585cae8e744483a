// python/bindings/docstrings.h - what help() says; docs/python-reference.md is made of it.
#pragma once

namespace regard::python::docstrings {

// Signatures, for nb::sig: what nanobind would say of arguments that are converted by hand is
// "object".
#define REGARD_SHARED_SIGNATURE                                                                    \
  "causal: bool = False, window: tuple[int | None, int | None] | None = None, mask: Mask | Array " \
  "| None = None, bias: Array | None = None, scale: float | None = None, softcap: float | None "   \
  "= None, alibi_slopes: Sequence[float] | Array | None = None, "
#define REGARD_SINKS_SIGNATURE "sinks: Sequence[float] | Array | None = None, "
#define REGARD_POSITIONS_SIGNATURE                                                       \
  "q_offset: int | Sequence[int] | Array | None = None, kv_lens: Sequence[int] | Array " \
  "| None = None, "
#define REGARD_PACKED_SIGNATURE                                                              \
  "cu_seqlens_q: Sequence[int] | Array | None = None, cu_seqlens_kv: Sequence[int] | Array " \
  "| None = None, "
#define REGARD_THREADS_SIGNATURE "num_threads: int | None = None"
inline constexpr const char* kAttentionSignature =
    "def attention(query: Array, key: Array, value: Array, *, " REGARD_SHARED_SIGNATURE
        REGARD_SINKS_SIGNATURE REGARD_POSITIONS_SIGNATURE REGARD_PACKED_SIGNATURE
    "return_lse: bool = False, out: Array | None = None, " REGARD_THREADS_SIGNATURE
    ") -> Array | tuple[Array, Array]";
inline constexpr const char* kPlanSignature =
    "def plan(query: Array, key: Array, value: Array, *, " REGARD_SHARED_SIGNATURE
        REGARD_SINKS_SIGNATURE REGARD_POSITIONS_SIGNATURE
            REGARD_PACKED_SIGNATURE REGARD_THREADS_SIGNATURE ") -> Plan";
inline constexpr const char* kWeightsSignature =
    "def weights(query: Array, key: Array, *, rows: int | Sequence[int] | Array | None = "
    "None, " REGARD_SHARED_SIGNATURE REGARD_SINKS_SIGNATURE
        REGARD_POSITIONS_SIGNATURE REGARD_THREADS_SIGNATURE ") -> Array";
inline constexpr const char* kPartialAttentionSignature =
    "def partial_attention(query: Array, key: Array, value: Array, *, kv_offset: int = "
    "0, " REGARD_SHARED_SIGNATURE REGARD_POSITIONS_SIGNATURE REGARD_THREADS_SIGNATURE
    ") -> AttentionState";
inline constexpr const char* kMergeSignature =
    "def merge(states: Sequence[AttentionState]) -> AttentionState";
inline constexpr const char* kFinishSignature =
    "def finish(self, sinks: Sequence[float] | Array | None = None) -> tuple[Array, Array]";
inline constexpr const char* kRopeSignature =
    "def rope(x: Array, positions: int | Sequence[int] | Array, *, base: float = 10000.0, style: "
    "str "
    "= 'half_split', rotary_dim: int | None = None, scaling: dict[str, object] | None = None, out: "
    "Array | None = None) -> Array";
#undef REGARD_SHARED_SIGNATURE
#undef REGARD_SINKS_SIGNATURE
#undef REGARD_POSITIONS_SIGNATURE
#undef REGARD_PACKED_SIGNATURE
#undef REGARD_THREADS_SIGNATURE

inline constexpr const char* kOtherCalls =
    "Any other call raises TypeError with the word that does not fit.";

inline constexpr const char* kAttention =
    R"(attention(query, key, value, *, ...) -> out, or (out, lse)

Exact attention: ``out[b, h, i] = sum_j softmax_j(score[b, h, i, j]) value[b, h // (heads // kv_heads), j]``.

Arrays of NumPy, PyTorch (CPU), JAX (CPU) or anything with DLPack or the buffer protocol, float32, bfloat16 or float16, each
its own, any strides; nothing is copied. The result is of query's library and type. Arithmetic is float32. The same inputs give
the same bits for any number of threads, batch composition, chunking and strides.

Arguments:
    query: (batch, heads, q_len, head_dim). Three axes: without batch; two: without batch and heads. With cu_seqlens:
        (tokens, heads, head_dim).
    key: (batch, kv_heads, kv_len, head_dim), as many axes as query; heads is a multiple of kv_heads.
    value: (batch, kv_heads, kv_len, value_dim). head_dim and value_dim are 1 to 1024.
    causal: a query sees the keys up to its own position.
    window: (left, right): q - left <= k <= q + right; None is unbounded. transformers' sliding_window=W is (W - 1, 0).
    mask: a mask of ``regard.masks``, or booleans, True = may attend, that broadcast to (batch, heads, q_len, kv_len).
        causal, window and mask all hold.
    bias: added to the scores, broadcasts likewise; -inf hides a pair.
    scale: multiplies query . key; 1 / sqrt(head_dim) unless given.
    softcap: score -> softcap * tanh(score / softcap).
    alibi_slopes: (heads): score - slope * abs(q - k).
    sinks: (heads): a logit that joins the softmax without a value.
    q_offset: the position of query 0, an integer or one per sequence, negative too; key j is at j. To be given where
        positions matter and q_len differs from kv_len.
    kv_lens: (batch): how many keys each sequence has; those beyond are never read.
    cu_seqlens_q, cu_seqlens_kv: (sequences + 1): packed sequences begin and end there; positions begin anew in each.
    return_lse: also the log of the sum of exp(score), sinks included: (batch, heads, q_len) float32, natural; packed
        (heads, tokens).
    out: where to write, any strides, float32, bfloat16 or float16; must not overlap the inputs.
    num_threads: 1 to 1024; as many as the process may use unless given. Short calls stay on the caller's thread.

Order of what happens to a score: scale, softcap, alibi_slopes, bias, mask, sinks. A query that sees no key gets 0 and
lse = -inf. NaN or infinity in what is masked changes nothing.

Raises ValueError (values, shapes) and TypeError (types, devices, tracked gradients) with the argument, what came and what
was expected; KeyboardInterrupt soon after Ctrl-C, out is unspecified then. Other Python threads run meanwhile.

>>> import numpy as np, regard
>>> x = np.ones((1, 8, 16, 64), np.float32)
>>> regard.attention(x, x, x, causal=True).shape
(1, 8, 16, 64))";

inline constexpr const char* kPlan = R"(plan(query, key, value, *, ...) -> Plan

What ``attention`` would do with the same arguments, without doing it: of the arrays only shapes and types are looked at.

>>> import numpy as np, regard
>>> x = np.ones((1, 8, 4096, 64), np.float32)
>>> regard.plan(x, x, x, causal=True).tiles_skipped
173056)";

inline constexpr const char* kWeights =
    R"(weights(query, key, *, rows=None, ...) -> (batch, heads, rows, kv_len) float32

What rows attend to: the softmax's weights, from the engine's own tiles. Other arguments as in ``attention``.

Arguments:
    rows: indices of queries, negative ones from the end; a number, a list or an array. All unless given: memory is that of
        the result, so choose where q_len and kv_len are large.

A row sums to 1, less what sinks take; to 0 where a query sees no key.)";

inline constexpr const char* kPartialAttention =
    R"(partial_attention(query, key, value, *, kv_offset=0, ...) -> AttentionState

``attention`` over a part of a longer sequence's keys; ``merge`` puts parts together. All arrays have four axes; other
arguments as in ``attention``, sinks go to ``AttentionState.finish``.

Arguments:
    kv_offset: the position of key 0, a multiple of 256.)";

inline constexpr const char* kMerge = R"(merge(states) -> AttentionState

The state over the keys of all, given in the order of their keys. Exact; with parts of 256 * 2^n keys, each beginning at a
multiple of its length, the bits are those of one call over all.)";

inline constexpr const char* kState =
    R"(What rows know after a part of the keys. Sinks are never in it.)";

inline constexpr const char* kFinish = R"(finish(sinks=None) -> (out, lse)

out (batch, heads, q_len, value_dim) of the query's library and type, lse (batch, heads, q_len) float32.)";

inline constexpr const char* kPlanClass = R"(What a call will do: ``print(plan)``.

mask, isa: what was understood, and the kernels' instruction set. tiles_full, tiles_partial, tiles_skipped: tiles computed
without a mask, with one, and not at all. flops: of the pairs that the mask allows. cache_bytes: keys and values, once.
workspace_bytes: scratch memory of a run.)";

inline constexpr const char* kRope =
    R"(rope(x, positions, *, base=10000.0, style='half_split', ...) -> x, turned

Rotary positions (Su et al. 2021), for queries and keys before ``attention``.

Arguments:
    x: (batch, heads, q_len, head_dim), or its last three or two axes; float32, bfloat16 or float16.
    positions: the first token's position, or one per token (q_len), or (batch, q_len).
    base: of the frequencies, base^(-2 i / rotary_dim).
    style: 'half_split' pairs i with i + rotary_dim / 2 (Llama in transformers), 'interleaved' 2 i with 2 i + 1 (GPT-J).
    rotary_dim: how many elements of a head are turned, from the first; all unless given.
    scaling: a dict as transformers' rope_scaling: rope_type default, linear, ntk, dynamic (with seq_len), yarn or llama3, and
        its numbers.
    out: where to write; x itself turns in place.)";

inline constexpr const char* kCacheAppendSignature =
    "def append(self, sequence: int, key: Array, value: Array) -> int";
inline constexpr const char* kCacheWriteSignature =
    "def write(self, layer: int, sequence: int, position: int, key: Array, value: Array) -> None";
inline constexpr const char* kCacheReadSignature =
    "def read(self, sequence: int, layer: int = 0) -> tuple[NDArray[np.float32], "
    "NDArray[np.float32]]";
inline constexpr const char* kCacheAttentionSignature =
    "def attention(self, query: Array, sequences: int | Sequence[int] | Array, *, layer: int = 0, "
    "causal: bool = False, window: tuple[int | None, int | None] | None = None, mask: Mask | None "
    "= None, scale: float | None = None, softcap: float | None = None, num_threads: int | None = "
    "None) -> Array";
inline constexpr const char* kCachePublishSignature =
    "def publish(self, sequence: int, ids: Sequence[int] | Array) -> None";
inline constexpr const char* kCacheAdoptSignature =
    "def adopt(self, sequence: int, ids: Sequence[int] | Array) -> int";
inline constexpr const char* kCacheStatsSignature = "def stats(self) -> dict[str, int]";
inline constexpr const char* kCacheSaveSignature =
    "def save(self, sequence: int, file: str | os.PathLike[str], ids: Sequence[int] | Array | None "
    "= None) -> None";
inline constexpr const char* kCacheLoadSignature =
    "def load(self, file: str | os.PathLike[str], *, owner: str = '', share_with: str = '') -> "
    "tuple[int, list[int]]";
inline constexpr const char* kCacheSaveAllSignature =
    "def save_all(self, file: str | os.PathLike[str]) -> None";
inline constexpr const char* kCacheLoadAllSignature =
    "def load_all(self, file: str | os.PathLike[str]) -> list[tuple[int, list[int]]]";

inline constexpr const char* kCacheFull =
    R"(The cache's budget does not suffice; the message says who uses it. Nothing has changed.)";

inline constexpr const char* kCache =
    R"(Keys and values of many sequences in one pool of pages, which ``attention`` reads where they lie.

Sequences fork without a copy, share equal beginnings, go back, and give up what a window has left behind. What attention
reads is what the cache stores, so that a prompt at once, in pieces and token by token gives the same bits, for every dtype
and page_size.

Arguments:
    num_kv_heads, head_dim: of a key; value_dim: of a value, head_dim unless given.
    num_layers: a page holds its tokens for all layers.
    dtype: "f32", "bf16", "f16", or "int8" with a float32 scale for each row.
    page_size: tokens of a page, a multiple of 16.
    budget_bytes: most bytes of pages; they are taken when needed. ``CacheFull`` beyond it.
    fingerprint: says which model the keys are of; files carry it.

Errors: ValueError (numbers, shapes, sequences that are not there), TypeError, CacheFull, RuntimeError (files). Calls from
several threads wait for each other.

>>> import numpy as np, regard
>>> cache = regard.PagedKvCache(num_kv_heads=2, head_dim=64)
>>> sequence = cache.create()
>>> rows = np.ones((2, 100, 64), np.float32)
>>> cache.append(sequence, rows, rows)
0
>>> query = np.ones((8, 1, 64), np.float32)
>>> cache.attention(query, sequence).shape
(8, 1, 64)
>>> cache.length(cache.fork(sequence)), cache.stats()["saved_pages"]
(100, 2))";

inline constexpr const char* kCacheCreate = R"(create(*, owner="", share_with="") -> sequence

An empty sequence: a number that no other one of the cache ever had. Pages are never shared between owners, unless both
sequences name the same share_with.)";
inline constexpr const char* kCacheFork =
    R"(A second sequence with the same tokens, of the same owner. What both hold is there once.)";
inline constexpr const char* kCacheRelease =
    R"(Ends a sequence. Its published pages are kept until their room is needed.)";
inline constexpr const char* kCacheLength = R"(Tokens of a sequence.)";
inline constexpr const char* kCacheAppend =
    R"(append(sequence, key, value) -> position of the first token

key (num_layers, num_kv_heads, tokens, head_dim), value likewise with value_dim, float32, bfloat16 or float16, any strides;
without the first axis in a cache of one layer. All of it, or, where it raises, nothing.)";
inline constexpr const char* kCacheExtend =
    R"(Makes room for `count` more tokens, 0 until written; returns the position of the first.)";
inline constexpr const char* kCacheWrite =
    R"(Stores keys (num_kv_heads, tokens, head_dim) and values of one layer from `position` on.)";
inline constexpr const char* kCacheRead =
    R"(One layer's keys and values as float32, (num_kv_heads, length, dim): what attention reads.)";
inline constexpr const char* kCacheTruncate = R"(Forgets all tokens from `length` on.)";
inline constexpr const char* kCacheEvict =
    R"(Gives back the pages between the first keep_first and the last keep_last tokens. Positions do not change; attention whose
mask lets a query see what is gone is refused.)";
inline constexpr const char* kCachePublish =
    R"(Says which tokens, all from the first on, a sequence's keys belong to: adopt() can then find its full pages.)";
inline constexpr const char* kCacheAdopt =
    R"(An empty sequence takes the pages published for the longest beginning of ids, at most all but the last; returns how many
tokens it then has.)";
inline constexpr const char* kCacheAttention =
    R"(attention(query, sequences, *, layer=0, causal=False, ...) -> out

As ``regard.attention``, with keys and values from the pages of one layer, each sequence of its own length.

query: (sequences, heads, q_len, head_dim), or (heads, q_len, head_dim) with one number as sequences. Its queries are the last
q_len tokens of each sequence: query i is at position length - q_len + i. The result is of query's library and type.)";
inline constexpr const char* kCacheStats =
    R"(Bytes and pages: page_bytes, num_pages (the budget), used_pages, kept_pages (published, held by no sequence), saved_pages (that
would be used too if nothing were shared), used_bytes, wasted_bytes (beyond the ends of sequences), num_sequences; tokens that
adopt() was asked for and found: looked_up_tokens, found_tokens.)";
inline constexpr const char* kCacheSave =
    R"(Writes a sequence, and the ids that are kept with it, to a file that is the old one or the new one, whole, at any time.)";
inline constexpr const char* kCacheLoad =
    R"(A saved sequence as a new one, bit for bit, and its ids. Damage and another model's files are refused.)";
inline constexpr const char* kCacheSaveAll =
    R"(The same for all sequences; what they share is written once.)";
inline constexpr const char* kCacheLoadAll =
    R"(All sequences of a file as new ones, in the file's order, each with its ids.)";

}  // namespace regard::python::docstrings
