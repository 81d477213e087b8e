"""An application with the unmodified botocore: for each line on standard input a new session looks
for credentials in its default chain, or for the region of the instance, and prints what it got.
"""
import json
import sys

import botocore.session
from botocore.utils import InstanceMetadataRegionFetcher


def credentials():
    found = botocore.session.Session().get_credentials()
    if found is None:
        return {'error': 'no credentials'}
    frozen = found.get_frozen_credentials()
    return {
        'accessKeyId': frozen.access_key,
        'secretAccessKey': frozen.secret_key,
        'sessionToken': frozen.token,
        'method': found.method,
    }


def answer(question):
    try:
        if question['client'] == 'region':
            return {'value': InstanceMetadataRegionFetcher().retrieve_region()}
        return credentials()
    except Exception as error:
        return {'error': str(error)}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
