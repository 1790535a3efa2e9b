"""Which models are served, and what a client may call them."""

from dataclasses import asdict, dataclass
from typing import Any

from components.serving.api_errors import unknown_model

CHAMPION = "champion"


@dataclass(frozen=True)
class Served:
    """One version of a model and the application that answers for it."""

    name: str
    version: str
    digest: str
    app: str
    champion: bool
    created: int = 0
    """Unix seconds."""

    @property
    def id(self) -> str:
        """NAME/VERSION."""
        return f"{self.name}/{self.version}"

    def row(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Catalogue:
    """The versions that are served. `demo` and `demo@champion` are the champion, `demo/2` is a version."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.served = [Served(**row) for row in rows]
        self._by_id = {served.id: served for served in self.served}
        for served in self.served:
            if served.champion:
                self._by_id |= {served.name: served, f"{served.name}@{CHAMPION}": served}

    def resolve(self, model: str) -> Served:
        """The version that `model` names; raises ApiError (404)."""
        if model not in self._by_id:
            raise unknown_model(model, [row["id"] for row in self.listing()])
        return self._by_id[model]

    def listing(self) -> list[dict[str, Any]]:
        """The rows of /v1/models: the champions by their name first, then every version."""
        ids = [(s.name, s) for s in self.served if s.champion] + [(s.id, s) for s in self.served]
        return [model_row(name, served) for name, served in ids]


def model_row(name: str, served: Served) -> dict[str, Any]:
    """One row of /v1/models; `root` and `digest` say which version stands behind the name."""
    return {
        "id": name,
        "object": "model",
        "created": served.created,
        "owned_by": "headwater",
        "root": served.id,
        "digest": served.digest,
    }
