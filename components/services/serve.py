"""Ray Serve as the services see it: a port that is chosen here, and an application that another module deploys."""

from components.services.engine import refusal
from components.services.site import Site

USUAL_PORT = 8000


def ailment(site: Site) -> str | None:
    """None while the endpoint answers /healthz, else why not."""
    return refusal(site.port("serve"), "/healthz")
