"""The headers that every answer of ours has, whichever listener gives it."""

SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
# Of what is no page.
CONTENT_POLICY = (b"content-security-policy", b"default-src 'none'")
NO_STORE = (b"cache-control", b"no-store")
# Of a stream: a proxy hands on what it gets at once.
UNBUFFERED = (b"x-accel-buffering", b"no")
