# tests/python/kv_cache_test.py - regard.PagedKvCache: what attention reads is what was stored; sharing, files, errors.
import os
import threading

import numpy as np
import pytest

import regard

RNG = np.random.default_rng(3)


def rows(tokens, dim=32, heads=2):
    return RNG.standard_normal((heads, tokens, dim), dtype=np.float32)


def make(**kwargs):
    return regard.PagedKvCache(**{"num_kv_heads": 2, "head_dim": 32, "page_size": 16, **kwargs})


@pytest.mark.parametrize("dtype", ["f32", "bf16", "f16", "int8"])
@pytest.mark.parametrize("page_size", [16, 64])
def test_attention_is_that_over_what_the_cache_holds(dtype, page_size):
    cache = make(dtype=dtype, page_size=page_size, value_dim=48)
    sequence, key, value = cache.create(), rows(90), rows(90, 48)
    for begin, end in ((0, 1), (1, 50), (50, 90)):
        assert cache.append(sequence, key[:, begin:end], value[:, begin:end]) == begin
    query = RNG.standard_normal((6, 5, 32), dtype=np.float32)
    held_key, held_value = cache.read(sequence)
    np.testing.assert_allclose(held_key, key, atol={"f32": 0, "int8": 0.03}.get(dtype, 0.02))
    ours = cache.attention(query, sequence, causal=True)
    theirs = regard.attention(query, held_key, held_value, causal=True, q_offset=85)
    if dtype == "int8":  # scales are applied to scores and weights: another order of rounding
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
    else:
        assert np.array_equal(ours, theirs)
    assert np.array_equal(ours, cache.attention(query, sequence, causal=True, num_threads=2))


def test_sequences_of_different_lengths_in_one_call():
    cache = make(num_layers=2)
    sequences = [cache.create() for _ in range(3)]
    for sequence, tokens in zip(sequences, (7, 100, 33)):
        layers = np.stack([rows(tokens), rows(tokens)])
        cache.append(sequence, layers, layers[::-1])
    query = RNG.standard_normal((3, 4, 2, 32), dtype=np.float32)
    together = cache.attention(query, sequences, layer=1, causal=True)
    for i, sequence in enumerate(sequences):
        assert np.array_equal(together[i], cache.attention(query[i], sequence, layer=1, causal=True))


def test_forks_share_and_go_their_own_way():
    cache = make()
    first = cache.create()
    key = rows(40)
    cache.append(first, key, key)
    second = cache.fork(first)
    assert cache.stats()["saved_pages"] == 3
    cache.truncate(second, 20)
    more = rows(5)
    cache.append(second, more, more)
    assert np.array_equal(cache.read(first)[0], key)
    assert np.array_equal(cache.read(second)[0], np.concatenate([key[:, :20], more], 1))
    cache.release(first)
    cache.release(second)
    assert cache.stats()["used_pages"] == 0
    with pytest.raises(ValueError, match="is not there"):
        cache.length(first)


def test_equal_prefixes_are_found():
    cache = make()
    first, ids = cache.create(owner="a"), list(range(40))
    cache.append(first, rows(40), rows(40))
    cache.publish(first, ids)
    assert cache.adopt(cache.create(owner="a"), ids + [7]) == 32
    assert cache.adopt(cache.create(owner="b"), np.array(ids)) == 0, "not another owner's"
    assert cache.stats()["found_tokens"] == 32


def test_a_window_gives_pages_back():
    cache = make()
    sequence = cache.create()
    cache.append(sequence, rows(200), rows(200))
    before = cache.stats()["used_pages"]
    cache.evict(sequence, 4, 50)
    assert cache.stats()["used_pages"] < before
    assert not cache.read(sequence)[0][:, 32:128].any(), "what is gone reads as zeros"
    query = RNG.standard_normal((4, 1, 32), dtype=np.float32)
    assert cache.attention(query, sequence, window=(40, 0)).shape == (4, 1, 32)
    with pytest.raises(ValueError, match="evicted|forgotten|there any more"):
        cache.attention(query, sequence)


def test_files(tmp_path):
    cache = make(fingerprint="m")
    sequence = cache.create()
    cache.append(sequence, rows(30), rows(30))
    cache.save(sequence, tmp_path / "one", ids=range(30))
    other = make(fingerprint="m", page_size=64)
    loaded, ids = other.load(tmp_path / "one", owner="me")
    assert ids == list(range(30))
    assert all(np.array_equal(a, b) for a, b in zip(other.read(loaded), cache.read(sequence)))
    cache.save_all(str(tmp_path / "all"))
    assert [length for length in map(other.length, (s for s, _ in other.load_all(tmp_path / "all")))] == [30]
    with pytest.raises(RuntimeError, match="one.*fingerprint|fingerprint|model"):
        make(fingerprint="another").load(tmp_path / "one")
    (tmp_path / "bad").write_bytes((tmp_path / "one").read_bytes()[:-9])
    with pytest.raises(RuntimeError, match="bad"):
        other.load(tmp_path / "bad")


def test_a_budget_is_kept_and_nothing_lost():
    cache = make(budget_bytes=4 * 2 * 2 * 16 * 32 * 4)
    sequence, key = cache.create(owner="me"), rows(60)
    cache.append(sequence, key, key)
    with pytest.raises(regard.CacheFull, match='"me"'):
        cache.append(sequence, rows(60), rows(60))
    assert cache.length(sequence) == 60 and np.array_equal(cache.read(sequence)[0], key)


@pytest.mark.parametrize("call, error, words", [
    (lambda c, s: c.append(s, rows(3), rows(4)), ValueError, "value"),
    (lambda c, s: c.append(s, rows(3, heads=3), rows(3)), ValueError, "key"),
    (lambda c, s: c.append(s, np.ones((2, 32), np.float32), rows(3)), ValueError, "append: key is of shape"),
    (lambda c, s: c.append(s, rows(3).astype(np.float64), rows(3)), TypeError, "float64"),
    (lambda c, s: c.append(s, "x", rows(3)), TypeError, "a str, expected an array"),
    (lambda c, s: c.attention(rows(1), [s, s]), ValueError, "(sequences, heads, q_len, head_dim)"),
    (lambda c, s: c.attention(rows(1), s, layer=5), ValueError, "layer is 5"),
    (lambda c, s: c.attention(rows(1, 16), s), ValueError, "16"),
    (lambda c, s: c.attention(rows(1), s, mask=np.ones((1, 1), bool)), TypeError, "a mask of regard.masks"),
    (lambda c, s: c.truncate(s, -1), ValueError, "-1"),
    (lambda c, s: c.publish(s, [-3]), ValueError, "publish: ids[0] is -3"),
    (lambda c, s: c.load(5), TypeError, "a int, expected a file's name"),
    (lambda c, s: make(dtype="f64"), ValueError, '"f64"'),
    (lambda c, s: make(page_size=7), ValueError, "page_size is 7"),
])
def test_errors_name_what_was_wrong_and_change_nothing(call, error, words):
    cache = make()
    sequence = cache.create()
    cache.append(sequence, rows(20), rows(20))
    with pytest.raises(error) as caught:
        call(cache, sequence)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert cache.length(sequence) == 20


@pytest.mark.parametrize("call, words", [
    (lambda c, s: c.extend(sequnce=s, count=1), 'extend: there is no argument \'sequnce\'; did you mean "sequence"?'),
    (lambda c, s: c.extend(s), "extend: count is missing"),
    (lambda c, s: c.extend(s, 1, 2), "extend: 3 arguments came by position, expected at most 2"),
    (lambda c, s: c.extend(s, 1.0), "extend: an argument is of another type than expected"),
    (lambda c, s: c.extend(s, True), "extend: an argument is of another type than expected"),
    (lambda c, s: c.attention(np.zeros((2, 1, 32), "f4"), s, casual=True), 'attention: there is no argument \'casual\'; did you mean "causal"?'),
    (lambda c, s: make(heads=2), "PagedKvCache: there is no argument 'heads'"),
])
def test_a_wrong_call_is_told_in_one_line(call, words):
    cache = make()
    with pytest.raises(TypeError) as error:
        call(cache, cache.create())
    assert str(error.value) == words


def test_numpys_integers_are_numbers():
    cache = make(num_kv_heads=np.int32(2), head_dim=np.int64(32), page_size=np.uint8(16))
    sequence = np.int64(cache.create())
    assert cache.extend(sequence, np.int32(3)) == 0 and cache.length(sequence) == 3
    cache.truncate(sequence, np.int16(1))
    assert cache.length(int(sequence)) == 1


def test_names_of_files_are_bytes(tmp_path):
    cache = make()
    sequence = cache.create()
    odd = os.fsencode(tmp_path) + b"/caf\xe9 \xff"
    cache.save(sequence, odd)
    assert os.path.exists(odd) and cache.load(odd)[1] == []
    with pytest.raises(ValueError, match="save: file is a name with a zero byte in it"):
        cache.save(sequence, str(tmp_path / "a\0b"))
    assert not (tmp_path / "a").exists()


def test_threads_wait_for_each_other():
    cache = make()
    sequences = [cache.create() for _ in range(4)]
    kept = {}

    def work(i):
        kept[i] = [rows(3) for _ in range(50)]
        for piece in kept[i]:
            cache.append(sequences[i], piece, piece)
            cache.attention(np.ones((2, 1, 32), np.float32), sequences[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, sequence in enumerate(sequences):
        assert np.array_equal(cache.read(sequence)[0], np.concatenate(kept[i], 1))


def test_tensors_of_pytorch():
    torch = pytest.importorskip("torch")
    cache = make(dtype="bf16")
    sequence = cache.create()
    key = torch.randn(2, 20, 32, dtype=torch.bfloat16)
    cache.append(sequence, key, key)
    out = cache.attention(torch.randn(4, 1, 32), sequence)
    assert isinstance(out, torch.Tensor) and out.shape == (4, 1, 32)
    np.testing.assert_array_equal(cache.read(sequence)[0], key.float().numpy())
