"""The order of samples: a pure function of seed, epoch and global index, so that a loader's state is one integer."""

from hashlib import blake2b

ROUNDS = 6


def sample_at(index: int, *, num_samples: int, seed: int) -> int:
    """The sample at global `index`: every epoch is another permutation of range(num_samples).

    A Feistel network over the smallest even number of bits that covers the samples, with cycle walking (Black and
    Rogaway 2002): constant memory, whatever the number of samples, and the same on every machine.
    """
    epoch, position = divmod(index, num_samples)
    half = max(1, ((num_samples - 1).bit_length() + 1) // 2)
    key = f"{seed}/{epoch}".encode()
    while True:
        position = _feistel(position, half, key)
        if position < num_samples:
            return position


def _feistel(value: int, half: int, key: bytes) -> int:
    """A permutation of range(4**half), chosen by `key`."""
    low = (1 << half) - 1
    left, right = value >> half, value & low
    for number in range(ROUNDS):
        hashed = blake2b(right.to_bytes(8, "little"), digest_size=8, key=key[:64], salt=bytes([number]))
        left, right = right, left ^ (int.from_bytes(hashed.digest(), "little") & low)
    return left << half | right


def share(batch_size: int, rank: int, world_size: int) -> range:
    """Which samples of a batch `rank` takes: contiguous, and as equal as can be."""
    return range(batch_size * rank // world_size, batch_size * (rank + 1) // world_size)
