"""REFs: a run, an artifact's digest or its first characters, or MODEL/VERSION."""

import re
from dataclasses import dataclass

from components.errors import UnknownRef
from components.ledger import Ledger, promotion, queries, runs
from components.ledger.tables import ArtifactRow, RunRow, VersionRow


@dataclass(frozen=True)
class Ref:
    """What a REF names: a run, or an artifact, which may be a registered version's model."""

    text: str
    run: RunRow | None = None
    artifact: ArtifactRow | None = None
    version: VersionRow | None = None


def look_up(ledger: Ledger, text: str) -> Ref:
    """What `text` names. Raises UnknownRef with what would be right."""
    if "/" in text or "@" in text or promotion.versions(ledger, text):
        row = model_version(ledger, text)
        return Ref(text, artifact=queries.artifacts(ledger, row.digest)[0], version=row)
    if row_of_run := runs.run(ledger, text):
        return Ref(text, run=row_of_run)
    if re.fullmatch(r"[0-9a-f]{8,64}", text):
        found = queries.artifacts(ledger, text)
        if len(found) == 1:
            return Ref(text, artifact=found[0])
        if found:
            raise UnknownRef(f"{text} begins {len(found)} digests: give more of it.")
    raise UnknownRef(f"No run, artifact or model version {text!r}: `headwater runs` and `headwater models` list them.")


def model_version(ledger: Ledger, text: str) -> VersionRow:
    """The registered version MODEL/VERSION, MODEL@champion, or MODEL (its champion, else its newest). Raises UnknownRef."""
    name, slash, number = text.removesuffix("@champion").partition("/")
    confirmed = [row for row in promotion.versions(ledger, name) if row.version]
    if not confirmed:
        known = sorted({row.name for row in promotion.versions(ledger) if row.version})
        raise UnknownRef(f"No model {name!r}. Known: {', '.join(known) or 'none yet'}.")
    if not slash:
        champion = promotion.champion(ledger, name)
        number = champion.version if champion else str(confirmed[-1].version)
    found = [row for row in confirmed if row.version == number]
    if not found:
        raise UnknownRef(f"No version {number!r} of {name}. Known: {', '.join(str(row.version) for row in confirmed)}.")
    return found[0]
