"""Does this container's web server answer? Asked under a name that the server answers to."""

import http.client
import os
import sys


def name() -> str:
    """The first of ALLOWED_HOSTS that is a host's name."""
    allowed = os.environ.get("STYLEDIFFUSER_ALLOWED_HOSTS", "").split(",")
    names = [host.strip().lstrip(".") for host in allowed]
    return next((host for host in names if host and host != "*"), "localhost")


port = os.environ.get("WEB_BIND", "0.0.0.0:8000").rpartition(":")[2]
connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
connection.request("GET", "/healthz", headers={"Host": name()})
sys.exit(connection.getresponse().status != 200)
