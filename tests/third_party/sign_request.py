"""Signs a request with http-message-signatures and a signer of its own for secp256k1, and sends it with requests.

Standard input: JSON {url, method, body, token, keyid, secret (hex scalar), certificate: [chain, key], ca}.
Prints the status, a line break, and the reply's body.
"""

import datetime
import json
import secrets
import sys

import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from http_message_signatures import HTTPMessageSigner, HTTPSignatureAlgorithm, HTTPSignatureKeyResolver

job = json.load(sys.stdin)


class Secp256k1(HTTPSignatureAlgorithm):
    algorithm_id = "ecdsa-secp256k1-sha256"

    def __init__(self, public_key=None, private_key=None):
        self.private_key = private_key

    def sign(self, message):
        r, s = decode_dss_signature(self.private_key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")  # high-S half the time, as it comes


class Keys(HTTPSignatureKeyResolver):
    def resolve_private_key(self, key_id):
        return ec.derive_private_key(int(job["secret"], 16), ec.SECP256K1())

    def resolve_public_key(self, key_id):
        raise NotImplementedError


body = job["body"].encode()
headers = {"Authorization": "Bearer " + job["token"], "Content-Type": "application/json"}
request = requests.Request(job["method"], job["url"], headers=headers, data=body).prepare()
now = datetime.datetime.now()
HTTPMessageSigner(signature_algorithm=Secp256k1, key_resolver=Keys()).sign(
    request,
    key_id=job["keyid"],
    created=now,
    expires=now + datetime.timedelta(seconds=50),
    nonce=secrets.token_urlsafe(24),
    tag="tgp-request",
    include_alg=False,
    covered_component_ids=("@method", "@target-uri", "authorization", "content-type"),
    body=body,
)
session = requests.Session()
session.trust_env = False
reply = session.send(request, cert=tuple(job["certificate"]), verify=job["ca"], allow_redirects=False)
print(reply.status_code)
print(reply.text)
