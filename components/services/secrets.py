"""The secrets of one home: generated once, one file each, readable by their owner alone."""

import os
import secrets
from pathlib import Path

from components.errors import ServiceError

PREFIXES = {"prefect_password": "", "mlflow_password": "", "mlflow_session_key": "", "ray_token": "", "api_key": "hw-"}
"""Every secret by name, with what it starts with."""


def secret_file(home: Path, name: str) -> Path:
    """The file of the secret `name`."""
    return home / "secrets" / name


def secret(home: Path, name: str) -> str:
    """The secret `name` of this home; raises ServiceError where it is missing."""
    try:
        return secret_file(home, name).read_text()
    except FileNotFoundError:
        raise ServiceError(f"{secret_file(home, name)} is missing: `headwater up` makes what a home lacks.") from None


def has_secrets(home: Path) -> bool:
    """Whether every secret of `home` is there."""
    return all(secret_file(home, name).exists() for name in PREFIXES)


def create_secrets(home: Path) -> None:
    """Generate the secrets that `home` lacks; those that exist are never changed."""
    folder = home / "secrets"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name, prefix in PREFIXES.items():
        path = secret_file(home, name)
        if path.exists():
            path.chmod(0o600)
            continue
        # Written aside and renamed: a process killed in between must not leave an empty secret.
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(prefix + secrets.token_hex(24))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
