"""The store finds any flipped bit, and takes the same content twice as one."""

import random

import pytest

from components.errors import StoreError
from components.store import Store


def committed(store, text="water" * 100):
    staging = store.begin("work")
    (staging / "content" / "deep").mkdir()
    (staging / "content" / "deep" / "a.bin").write_text(text)
    (staging / "content" / "b.txt").write_text("b")
    return store.commit(staging, "corpus")


def test_the_same_content_is_one_artifact(home):
    store = Store(home)
    assert committed(store).digest == committed(store).digest
    assert len(store.names()) == 1
    assert not list(store.staging.iterdir())


@pytest.mark.parametrize("seed", range(5))
def test_a_flipped_bit_is_found_named_and_mended_by_a_new_commit(home, seed):
    store = Store(home)
    stored = committed(store)
    files = [path for path, _ in store.verify()]
    victim = random.Random(seed).choice(files)
    data = bytearray(victim.read_bytes())
    data[random.Random(seed).randrange(len(data))] ^= 1 << seed
    victim.write_bytes(data)
    damaged = [path for path, damage in store.verify() if damage]
    assert damaged == [victim]
    with pytest.raises(StoreError, match=r"damaged"):
        store.open(stored.digest, verify=True)
    assert committed(store).digest == stored.digest
    assert not [path for path, damage in store.verify() if damage]


def test_missing_and_unexpected_files_are_found(home):
    store = Store(home)
    stored = committed(store)
    (stored.path / "b.txt").unlink()
    (stored.path / "c.txt").write_text("new")
    found = {path.name: damage.found for path, damage in store.verify() if damage}
    assert found == {"b.txt": "missing", "c.txt": "unexpected"}
    assert not store.has(stored.digest)


def test_links_are_refused(home):
    store = Store(home)
    staging = store.begin("work")
    (staging / "content" / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(StoreError, match="link"):
        store.commit(staging, "corpus")
