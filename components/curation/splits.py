"""Held-out documents: chosen by a stable hash, so that a document stays on its side when others come and go."""

from collections.abc import Sequence

from components.digests import digest
from components.errors import EmptyResult


def held_out(clusters: Sequence[str], fraction: float, seed: int) -> list[bool]:
    """For each kept document, by its cluster: whether it is held out. Near-duplicates never straddle the split.

    A cluster is held out when the hash of (seed, cluster), read as a number from 0 to 1, is below `fraction`; at
    least one cluster is on each side. Raises EmptyResult when there are fewer than two clusters.
    """
    place = {cluster: int(digest([seed, cluster])[:16], 16) / 16**16 for cluster in clusters}
    if len(place) < 2:
        raise EmptyResult("One document is left after curation, and training and held-out need one each.")
    ranked = sorted(place, key=lambda cluster: (place[cluster], cluster))
    chosen = {cluster for cluster in ranked if place[cluster] < fraction} | {ranked[0]}
    chosen.discard(ranked[-1])
    return [cluster in chosen for cluster in clusters]
