"""Points simple-salesforce at a simulator on loopback.

The library only knows https and salesforce.com. It does take a `requests` session of the caller's own, so the
session gets an adapter that sends whatever the library addresses to the simulator, by plain http. The Host header
stays what the library meant, because Salesforce answers differently on a shared login host.
"""

from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter


class Loopback(HTTPAdapter):
    def __init__(self, base_url: str):
        super().__init__()
        self.base = urlsplit(base_url)

    def send(self, request, **options):
        meant = urlsplit(request.url)
        if meant.netloc != self.base.netloc:
            request.headers["Host"] = meant.netloc
        request.url = meant._replace(scheme=self.base.scheme, netloc=self.base.netloc).geturl()
        return super().send(request, **options)


def session(base_url: str) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", Loopback(base_url))
    return session
