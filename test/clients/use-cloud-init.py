"""Runs the AliYun data source of cloud-init, unmodified, and prints as JSON what it found.

Its argument is the configuration of the data source, as JSON. The one thing pretended is the DMI product
name: the machine is no ECS instance.
"""
import json
import sys
import tempfile

from cloudinit import dmi, helpers, version

NAME = 'Alibaba Cloud ECS'
dmi.read_dmi_data = lambda key: NAME if key == 'system-product-name' else None

from cloudinit.sources.DataSourceAliYun import DataSourceAliYun  # noqa: E402

config = {'datasource': {'AliYun': json.loads(sys.argv[1])}}


def text(data):
    return data.decode() if isinstance(data, bytes) else data


with tempfile.TemporaryDirectory() as directory:
    paths = helpers.Paths({'cloud_dir': directory, 'run_dir': directory})
    source = DataSourceAliYun(config, None, paths)
    found = source.get_data()
    json.dump(
        {
            'version': version.version_string(),
            'found': found,
            'instanceId': source.get_instance_id() if found else None,
            'userData': text(source.userdata_raw) if found else None,
            'hostname': source.metadata.get('hostname') if found else None,
        },
        sys.stdout,
    )
