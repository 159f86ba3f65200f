"""Gets a token with Authlib, by metadata discovery over mutual TLS. Prints what the token endpoint gave.

Standard input: JSON {issuer, ca, certificate: [chain, key], agent, scope, resource}, and either master_key
(client_secret_basic) or jwk (private_key_jwt, ES256K).
"""

import json
import sys
import time

from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey

job = json.load(sys.stdin)
if "jwk" in job:
    # Its defaults are the token endpoint as audience and an hour as lifetime: RFC 7523 leaves both to the server.
    method = PrivateKeyJWT(token_endpoint=job["issuer"], claims={"exp": int(time.time()) + 60}, alg="ES256K")
    key = ECKey.import_key(job["jwk"])
    session = OAuth2Session(job["agent"], key, token_endpoint_auth_method="private_key_jwt")
    session.register_client_auth_method(method)
else:
    session = OAuth2Session(job["agent"], job["master_key"], token_endpoint_auth_method="client_secret_basic")
session.trust_env = False
session.cert = tuple(job["certificate"])
session.verify = job["ca"]
metadata = session.get(job["issuer"] + "/.well-known/oauth-authorization-server", withhold_token=True).json()
assert metadata["issuer"] == job["issuer"], metadata
token = session.fetch_token(
    metadata["token_endpoint"], grant_type="client_credentials", scope=job["scope"], resource=job["resource"]
)
print(json.dumps(token))
