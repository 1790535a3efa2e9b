"""Which texts share a row."""

from collections import defaultdict, deque
from collections.abc import Sequence


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Texts of these lengths in rows of at most `capacity`: the numbers of the texts in each row.

    Best-fit decreasing (Johnson 1974): the longest first, each into the fullest row that has room, of equals into the
    one that has been so full for longest. A pure function of its arguments; rows are numbered in the order in which
    they were opened. The rooms that some row has are a bit set, so a text costs one shift whatever the number of rows.
    No length exceeds `capacity`.
    """
    rows: list[list[int]] = []
    with_room: dict[int, deque[int]] = defaultdict(deque)  # room -> rows that have it
    rooms = 0  # bit r: some row has room r
    for text in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        length = lengths[text]
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = with_room[room].popleft()
            if not with_room[room]:
                rooms &= ~(1 << room)
        else:
            room, row = capacity, len(rows)
            rows.append([])
        rows[row].append(text)
        left = room - length
        with_room[left].append(row)
        rooms |= 1 << left
    return rows
