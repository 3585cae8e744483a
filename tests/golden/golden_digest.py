# tests/golden/golden_digest.py - the digest of tests/support/golden_digest.h.
"""FNV-1a over 64-bit words instead of bytes."""


class Digest:
    def __init__(self):
        self.state = 0xCBF29CE484222325

    def add(self, *words):
        state = self.state
        for word in words:
            state = ((state ^ (word & 0xFFFFFFFFFFFFFFFF)) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
        self.state = state

    def __str__(self):
        return f"{self.state:016x}"
