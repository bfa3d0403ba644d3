"""What every client of ours demands of a server's certificate, on each version of Python the same."""

import ssl
from os import PathLike


def client_tls(ca: str | PathLike[str] | None = None) -> ssl.SSLContext:
    """A context that believes the authorities of this PEM file, or the system's, for the name that it connects to.

    Python 3.13 made `VERIFY_X509_STRICT` the default, which refuses an authority whose certificate does not say
    what its key is for, as many a town's own do. Signatures, names, dates, basic constraints and the purpose of
    the server's own certificate are checked with the flag or without (docs/decisions/0133).

    Raises:
        OSError: the file cannot be read; ssl.SSLError is one.
    """
    context = ssl.create_default_context(cafile=ca)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
