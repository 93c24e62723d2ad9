"""CLIP's tokenizer from the merges that ship with this package: Stable Diffusion's captions.

Single-file checkpoints carry no vocabulary, and there is no hub to ask.
"""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

from transformers import CLIPTokenizer

MERGES = Path(__file__).parent / "clip" / "merges.txt.gz"
START, END = "<|startoftext|>", "<|endoftext|>"
MAX_LENGTH = 77


@cache
def read_merges() -> tuple[tuple[str, str], ...]:
    """The 48,894 byte-pair merges, in their order of precedence."""
    with gzip.open(MERGES, "rt", encoding="utf-8") as file:
        pairs = [line.split() for line in file]
    return tuple((first, second) for first, second in pairs)


def byte_symbols() -> list[str]:
    """A printable character for each byte, in the order of CLIP's vocabulary: bytes that print
    stand for themselves and come first, the others borrow characters from 256 on."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    plain += range(ord("®"), ord("ÿ") + 1)
    others = 256 - len(plain)
    return [chr(code) for code in plain] + [chr(256 + i) for i in range(others)]


def build_clip_tokenizer(pad_token: str = END) -> CLIPTokenizer:
    """CLIP's tokenizer with 49,408 tokens; Stable Diffusion 2.x pads with "!"."""
    symbols = byte_symbols()
    words = [*symbols, *(symbol + "</w>" for symbol in symbols)]
    words += ["".join(pair) for pair in read_merges()]
    return CLIPTokenizer(
        vocab={word: index for index, word in enumerate([*words, START, END])},
        merges=list(read_merges()),
        pad_token=pad_token,
        model_max_length=MAX_LENGTH,
    )
