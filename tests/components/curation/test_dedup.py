import numpy as np
import pytest

from components.curation.dedup import exact, minhash
from components.curation.extraction import parts
from flows.recipes import shipped_data

MODERN = "'Gainst my captivity.--Hail, brave friend! Say to the king the knowledge of the broil"
FOLIO = "'Gainst my Captiuitie: Haile braue friend; Say to the King, the knowledge of the Broyle"


def documents(path: str) -> list[str]:
    folder = shipped_data(path)
    return [part for file in sorted(folder.glob("*.txt")) for part in parts(file.read_text(), 6000)]


def jaccard(a: str, b: str) -> float:
    one, two = set(minhash.shingles(a)), set(minhash.shingles(b))
    return len(one & two) / len(one | two)


def test_spelling_is_folded() -> None:
    assert [minhash.folded(w) for w in ("haue", "have", "Vpon", "upon", "iustice", "justice")] == [
        *("h", "h", "upn", "upn", "istc", "istc")
    ]
    assert minhash.shingles(MODERN) == minhash.shingles(FOLIO)


def test_signatures_estimate_the_jaccard_similarity() -> None:
    texts = documents("tiny/austen")[:4]
    mixed = [texts[0], texts[0] + texts[1], texts[1], texts[2] + texts[0][:1500], texts[3]]
    for a in mixed:
        for b in mixed:
            estimate = np.mean(minhash.signature(a) == minhash.signature(b))
            assert estimate == pytest.approx(jaccard(a, b), abs=4 * 0.044)


def test_nearly_every_old_spelling_is_found_and_no_chapter_is_lost() -> None:
    novels, modern = documents("austen"), documents("shakespeare/modern-spelling")
    old = documents("shakespeare/old-spelling")
    found = minhash.near_duplicates([minhash.signature(text) for text in novels + modern + old], 0.3)
    first_old = len(novels) + len(modern)
    assert [index for index in found if index < first_old] == []
    assert sum(index >= first_old for index in found) >= 0.95 * len(old)
    assert all(len(novels) <= kept < first_old for kept, _ in found.values())


def test_likeness_is_not_passed_on() -> None:
    a, b, c = documents("tiny/austen")[:3]
    chain = [a, a + b, b, c]
    found = minhash.near_duplicates([minhash.signature(text) for text in chain], 0.3)
    assert set(found) == {1}, "b is like a + b, which was dropped, and not like a"


def test_texts_without_spaces_are_compared_by_letters() -> None:
    one = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗いじめじめした所で泣いていた事だけは記憶している。"
    other = "国境の長いトンネルを抜けると雪国であった。夜の底が白くなった。信号所に汽車が止まった。向側の座席から娘が立って来た。"
    assert jaccard(one, one.replace("猫", "犬")) > 0.8
    assert jaccard(one, other) < 0.1


def test_exact_duplicates_differ_in_case_and_space_only() -> None:
    keys = [exact.key(text) for text in ("One two.", "one  TWO.\n", "One, two.", "One two.")]
    assert exact.duplicates(keys) == {1: 0, 3: 0}
