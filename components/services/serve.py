"""Ray Serve as the services see it: a port that is chosen here, and an application that another module deploys."""

from components.services.engine import refusal
from components.services.site import Site

USUAL_PORT = 8000


def ailment(site: Site) -> str | None:
    """None while the endpoint of this home answers, else why not; another home's does not know our key."""
    return refusal(site.port("serve"), "/v1/models", f"Bearer {site.secret('api_key')}")
