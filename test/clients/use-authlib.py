"""Tokens by authlib: one line of JSON in, one out."""

import json
import sys
import urllib.request

from authlib.jose import JsonWebKey, JsonWebToken
from authlib.jose.errors import JoseError
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oauth2.rfc8414 import get_well_known_url as rfc8414_url
from authlib.oidc.core import IDToken
from authlib.oidc.discovery import OpenIDProviderMetadata
from authlib.oidc.discovery import get_well_known_url as openid_url


def read(url):
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


def claims_of(asked):
    server = AuthorizationServerMetadata(read(rfc8414_url(asked["issuer"], external=True)))
    server.validate()
    provider = OpenIDProviderMetadata(read(openid_url(asked["issuer"], external=True)))
    for name in (
        "issuer", "jwks_uri", "token_endpoint", "subject_types_supported", "response_types_supported",
        "grant_types_supported", "id_token_signing_alg_values_supported", "claims_supported",
    ):
        getattr(provider, "validate_" + name)()
    claims = JsonWebToken(provider["id_token_signing_alg_values_supported"]).decode(
        asked["token"],
        JsonWebKey.import_key_set(read(provider["jwks_uri"])),
        claims_cls=IDToken,
        claims_options={
            "iss": {"essential": True, "value": server["issuer"]},
            "aud": {"essential": True, "value": asked["audience"]},
        },
    )
    claims.validate()
    return dict(claims)


for line in sys.stdin:
    try:
        said = {"claims": claims_of(json.loads(line))}
    except (JoseError, ValueError) as error:
        said = {"refused": f"{type(error).__name__}: {error}"}
    print(json.dumps(said), flush=True)
