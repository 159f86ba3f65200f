"""Verifies an access token with PyJWT from the JWKS URL alone. Prints its claims."""

import json
import ssl
import sys

import jwt

jwks_url, ca_file, issuer, audience = sys.argv[1:5]
token = sys.stdin.read().strip()
client = jwt.PyJWKClient(jwks_url, ssl_context=ssl.create_default_context(cafile=ca_file))
key = client.get_signing_key_from_jwt(token)
claims = jwt.decode(
    token, key, algorithms=["ES256"], issuer=issuer, audience=audience, options={"require": ["exp", "iat", "nbf", "jti", "sub"]}
)
print(json.dumps(claims))
