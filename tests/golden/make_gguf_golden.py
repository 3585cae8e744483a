# tests/golden/make_gguf_golden.py - blocks of every GGUF format and what PyPI's gguf makes of them.
# Run: pip install gguf numpy; python tests/golden/make_gguf_golden.py > tests/golden/gguf_blocks.json
import json

import gguf
import numpy as np

ROWS, COLUMNS = 2, 256
random = np.random.default_rng(1)


def blocks_of(kind: gguf.GGMLQuantizationType) -> np.ndarray:
    """Rows of blocks: quantised numbers, or random bytes with sane scales where gguf cannot quantise."""
    if kind.name not in ("Q4_K", "Q6_K"):
        return gguf.quants.quantize(random.normal(size=(ROWS, COLUMNS)).astype(np.float32), kind).view(np.uint8)
    size = gguf.GGML_QUANT_SIZES[kind][1]
    rows = random.integers(0, 256, size=(ROWS, size), dtype=np.uint8)
    at = {"Q4_K": (0, 4), "Q6_K": (208, 210)}[kind.name]
    rows[:, at[0] : at[1]] = random.normal(size=(ROWS, (at[1] - at[0]) // 2)).astype(np.float16).view(np.uint8)
    return rows


golden = {"gguf": gguf.__dict__.get("__version__", "0.17"), "columns": COLUMNS, "formats": {}}
for name in ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q8_0", "Q4_K", "Q6_K"):
    kind = gguf.GGMLQuantizationType[name]
    blocks = blocks_of(kind)
    numbers = gguf.quants.dequantize(blocks.view(np.float32) if name == "F32" else blocks.view(np.float16) if name == "F16" else blocks, kind)
    golden["formats"][name] = {
        "type": int(kind),
        "blocks": [row.tobytes().hex() for row in blocks.reshape(ROWS, -1)],
        "numbers": [row.astype(np.float32).tobytes().hex() for row in numbers.reshape(ROWS, -1)],
    }
print(json.dumps(golden, indent=0))
