/** What an ECS instance says about itself: every path of the ECS user guide, "Instance metadata items". */
import { identityDocument } from './identity-document.ts'
import type { Instance } from './instance.ts'
import { type Directory, directory, directoryOf, type Leaf, toJson } from './tree.ts'

/** What the person who starts the simulator adds to the instance. */
export interface Equipment {
  /** The RAM role and its current credentials as JSON. */
  readonly role: { readonly name: string; readonly credentials: () => string } | undefined
  readonly tags: Readonly<Record<string, string>>
  readonly spotTerminationTime: string | undefined
  readonly userData: Buffer | undefined
  readonly vendorData: Buffer | undefined
}

/** Everything that the listings below one version lead to. */
export function listedTree(instance: Instance, equipment: Equipment, pkcs7: Leaf): Directory {
  return directory({
    dynamic: directory({
      'instance-identity': directory({ document: identityDocument(instance), pkcs7 }),
    }),
    maintenance: directory({ 'active-system-events': 'None' }),
    'meta-data': metaData(instance, equipment),
    'user-data': equipment.userData,
    'vendor-data': equipment.vendorData,
  })
}

/** Paths that answer although no listing names them; credentials are not part of `all`. */
export function unlistedPaths(instance: Instance, equipment: Equipment): ReadonlyMap<string, Leaf> {
  const all = metaData(instance, { ...equipment, role: undefined })
  return new Map([['meta-data/all', toJson(all)]])
}

function metaData(instance: Instance, equipment: Equipment): Directory {
  return directory({
    disks: directory({
      [instance.diskSerial]: directory({ id: instance.diskId, name: 'system disk' }),
    }),
    'dns-conf': directory({ nameservers: '192.0.2.253\n192.0.2.254' }),
    eipv4: instance.elasticIpv4,
    hibernation: directory({ configured: 'false' }),
    hostname: instance.hostname,
    image: directory({
      'market-place': directory({ 'product-code': 'cmjj000000', 'charge-type': 'PrePaid' }),
    }),
    'image-id': instance.imageId,
    instance: instanceDirectory(instance, equipment.spotTerminationTime),
    'instance-id': instance.instanceId,
    'kms-server': 'kms.example.com',
    mac: instance.mac,
    network: directory({
      interfaces: directory({ macs: directory({ [instance.mac]: networkInterface(instance) }) }),
    }),
    'network-type': 'vpc',
    'ntp-conf': directory({ 'ntp-servers': 'ntp1.example.com\nntp2.example.com' }),
    'owner-account-id': instance.ownerAccountId,
    'private-ipv4': instance.privateIpv4,
    'public-ipv4': instance.publicIpv4,
    'public-keys': directory({ '0': directory({ 'openssh-key': instance.opensshKey }) }),
    ram: equipment.role && securityCredentials(equipment.role),
    'region-id': instance.regionId,
    'serial-number': instance.serialNumber,
    'sub-private-ipv4-list': '192.0.2.121',
    tags: tagDirectory(equipment.tags),
    'vpc-cidr-block': '192.0.2.0/24',
    'vpc-id': instance.vpcId,
    'vswitch-cidr-block': '192.0.2.0/25',
    'vswitch-id': instance.vswitchId,
    'wsus-server': directory({
      'wu-server': 'http://wsus.example.com',
      'wu-status-server': 'http://wsus.example.com',
    }),
    'zone-id': instance.zoneId,
  })
}

function instanceDirectory(instance: Instance, terminationTime: string | undefined): Directory {
  return directory({
    'instance-name': `simulated ${instance.instanceId}`,
    'instance-type': instance.instanceType,
    'last-host-landing-time': '2024-11-17 10:02:41',
    'max-netbw-egress': '1228800',
    'max-netbw-ingress': '1228800',
    spot:
      terminationTime === undefined
        ? undefined
        : directory({ 'termination-time': terminationTime }),
    'virtualization-solution': 'ECS Virt',
    'virtualization-solution-version': '2.0',
  })
}

function networkInterface(instance: Instance): Directory {
  return directory({
    gateway: '192.0.2.126',
    'ipv4-prefixes': '["192.0.2.64/28"]',
    'ipv6-gateway': '2001:db8::ffff:1',
    'ipv6-prefixes': '["2001:db8:0:1::/80"]',
    // Documented in brackets without quotes: this is not JSON.
    ipv6s: `[${instance.ipv6}]`,
    netmask: '255.255.255.128',
    'network-interface-id': instance.networkInterfaceId,
    'primary-ip-address': instance.privateIpv4,
    'private-ipv4s': JSON.stringify([instance.privateIpv4]),
    'vpc-cidr-block': '192.0.2.0/24',
    'vpc-id': instance.vpcId,
    'vpc-ipv6-cidr-blocks': '[2001:db8::/56]',
    'vswitch-cidr-block': '192.0.2.0/25',
    'vswitch-id': instance.vswitchId,
    'vswitch-ipv6-cidr-block': '2001:db8::/64',
  })
}

function securityCredentials(role: NonNullable<Equipment['role']>): Directory {
  return directory({ 'security-credentials': directoryOf([[role.name, role.credentials]]) })
}

/** Only an instance with InstanceMetadataTags=enabled has this directory; here: one with tags. */
function tagDirectory(tags: Readonly<Record<string, string>>): Directory | undefined {
  const entries = Object.entries(tags)
  return entries.length === 0 ? undefined : directory({ instance: directoryOf(entries) })
}
