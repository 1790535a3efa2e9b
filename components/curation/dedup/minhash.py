"""Near-duplicates by MinHash and locality-sensitive hashing, whatever the spelling.

MinHash estimates the Jaccard similarity of two sets of shingles (Broder, 1997); banding finds the candidates without
comparing all pairs (Lee et al., 2022, use both on language model corpora). Shingles are pairs of words in folded
spelling, so that "Whereto serues mercy, But to confront the visage of Offence?" meets "whereto serves mercy but to
confront the visage of offence?".
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

NUM_HASHES = 128
"""The estimate's standard error is at most 0.5 / sqrt(128) = 0.044."""
SEED = 1
SCHEME: Literal["affine32"] = "affine32"
"""Named, so that another version of datasketch does not change what is kept."""
APOSTROPHE = re.compile("['\u2019]")
WORD = re.compile(r"[^\W\d_]+")
SAME_LETTER = str.maketrans("vjyz", "uiis")
LONGEST_MEAN_WORD = 12
WEAK_LETTERS = str.maketrans("", "", "aeiouwh")


def folded(word: str) -> str:
    """The word without what spellings differ in: u and v, i, j and y, vowels, h and w inside it, doubled letters."""
    word = word.lower().replace("ph", "f").translate(SAME_LETTER)
    kept = word[0]
    for letter in word[1:].translate(WEAK_LETTERS):
        if letter != kept[-1]:
            kept += letter
    return kept


def shingles(text: str) -> list[bytes]:
    """The sorted set of pairs of folded words; one word alone stands for itself.

    A script without spaces, known by its long "words", gives sequences of three letters instead.
    """
    words = WORD.findall(APOSTROPHE.sub("", unicodedata.normalize("NFKC", text)))
    if sum(map(len, words)) > LONGEST_MEAN_WORD * len(words):
        letters = "".join(words)
        words = [letters[i : i + 3] for i in range(len(letters) - 2)]
    keys = [folded(word) for word in words]
    pairs = {f"{a} {b}".encode() for a, b in pairwise(keys)}
    return sorted(pairs) or [key.encode() for key in keys]


def signature(text: str) -> np.ndarray:
    """The MinHash signature of `text`: uint32 of shape (NUM_HASHES,)."""
    from datasketch import MinHash

    hashed = MinHash(num_perm=NUM_HASHES, seed=SEED, scheme=SCHEME)
    hashed.update_batch(shingles(text))
    return np.asarray(hashed.hashvalues, dtype=np.uint32)


def near_duplicates(signatures: Sequence[np.ndarray], similarity: float) -> dict[int, tuple[int, float]]:
    """For each index that is like an earlier kept one: the most similar such index and the estimated similarity.

    Likeness is not passed on: a document is dropped for its own similarity to a kept one, never by way of a third.
    """
    from datasketch import MinHash, MinHashLSH

    # Missing a pair costs more than a candidate that the estimate below turns away.
    index = MinHashLSH(threshold=similarity, num_perm=NUM_HASHES, weights=(0.1, 0.9))
    found: dict[int, tuple[int, float]] = {}
    for number, values in enumerate(signatures):
        hashed = MinHash(num_perm=NUM_HASHES, seed=SEED, scheme=SCHEME, hashvalues=values)
        likeness, like = max(
            ((float(np.mean(signatures[c] == values)), -c) for c in index.query(hashed)), default=(0.0, 0)
        )
        if likeness >= similarity and likeness > 0:
            found[number] = (-like, likeness)
        else:
            index.insert(number, hashed, check_duplication=False)
    return found
