"""Facts of this machine, read from the environment at entry points only (flows/, jobs/main, services/, serving)."""

import getpass
import os
from dataclasses import dataclass
from pathlib import Path

TELEMETRY_OFF = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Set before any engine is imported or started; every value is the only spelling that its reader accepts."""


@dataclass(frozen=True)
class Settings:
    """Where state lives and who acts."""

    home: Path
    """HEADWATER_HOME, absolute (default .headwater)."""
    user: str
    """Who starts runs from here: HEADWATER_USER, or the login name. A claim, not a proof."""

    @property
    def ledger_url(self) -> str:
        """HEADWATER_LEDGER_URL, or an SQLite file in the home."""
        return os.environ.get("HEADWATER_LEDGER_URL", f"sqlite:///{self.home / 'ledger.db'}")

    @property
    def store(self) -> Path:
        """The folder of committed artifacts."""
        return self.home / "store"

    @property
    def scratch(self) -> Path:
        """The folder of what outlives an attempt and is no artifact: checkpoints."""
        return self.home / "scratch"

    def job_log(self, submission: str) -> Path:
        """The file that keeps what a Ray job has printed."""
        return self.home / "logs" / "jobs" / f"{submission}.log"


def settings() -> Settings:
    """The settings of this process; turns telemetry off for it and its children."""
    for name, value in TELEMETRY_OFF.items():
        os.environ.setdefault(name, value)
    home = Path(os.environ.get("HEADWATER_HOME", ".headwater")).absolute()
    os.environ["HEADWATER_HOME"] = str(home)
    return Settings(home=home, user=os.environ.get("HEADWATER_USER") or _login())


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"
