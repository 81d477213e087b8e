import type { Cloud } from './cloud.ts'
import type { Instance } from './instance.ts'
import type { Equipment } from './metadata.ts'
import type { StsCredentials } from './sts-credentials.ts'
import { type Directory, directory, directoryOf, type Leaf } from './tree.ts'

/**
 * Amazon EC2, IMDSv2. Source: EC2 user guide, "Configure the instance metadata service" and
 * "Instance metadata categories". The facts about the instance are those of the ECS tree under
 * other names; of the categories, those that SDKs and cloud-init read.
 */
export const ec2Cloud: Cloud = {
  versions: ['2009-04-04', '2021-03-23', 'latest'],
  tokenPath: '/latest/api/token',
  tokenHeader: 'X-aws-ec2-metadata-token',
  ttlHeader: 'X-Aws-Ec2-Metadata-Token-Ttl-Seconds',
  statusWithoutToken: 401,
  refusesForwardedReads: true,
  // botocore finds the region by availability-zone/, so it does.
  slashAfterLeaf: true,
  redirectsToSlashAt: 'http://169.254.169.254',
  regionId: 'eu-central-1',
  zoneOf: (regionId) => `${regionId}a`,
  listed,
  unlisted: () => new Map(),
  credentialsJson,
  document,
}

function listed(instance: Instance, equipment: Equipment, pkcs7: Leaf): Directory {
  return directory({
    dynamic: directory({
      'instance-identity': directory({ document: document(instance), pkcs7 }),
    }),
    'meta-data': metaData(instance, equipment),
    'user-data': equipment.userData,
  })
}

function metaData(instance: Instance, equipment: Equipment): Directory {
  const localHostname = `ip-${instance.privateIpv4.replaceAll('.', '-')}.example.internal`
  return directory({
    'ami-id': `ami-${instance.serialNumber.slice(0, 8)}`,
    'ami-launch-index': '0',
    hostname: localHostname,
    iam: equipment.role && identityAndAccess(equipment.role),
    'instance-action': 'none',
    'instance-id': instance.instanceId,
    'instance-life-cycle': 'on-demand',
    'instance-type': 'm6i.large',
    'local-hostname': localHostname,
    'local-ipv4': instance.privateIpv4,
    mac: instance.mac,
    network: directory({
      interfaces: directory({ macs: directory({ [instance.mac]: networkInterface(instance) }) }),
    }),
    placement: directory({ 'availability-zone': instance.zoneId, region: instance.regionId }),
    'public-ipv4': instance.publicIpv4,
    'public-keys': directory({ '0': directory({ 'openssh-key': instance.opensshKey }) }),
    'reservation-id': `r-${instance.serialNumber.slice(0, 8)}`,
    'security-groups': 'default',
    tags: tagDirectory(equipment.tags),
  })
}

function identityAndAccess(role: NonNullable<Equipment['role']>): Directory {
  return directory({ 'security-credentials': directoryOf([[role.name, role.credentials]]) })
}

function networkInterface(instance: Instance): Directory {
  return directory({
    'device-number': '0',
    'interface-id': instance.networkInterfaceId,
    'local-ipv4s': instance.privateIpv4,
    mac: instance.mac,
    'owner-id': accountId(instance),
    'subnet-id': instance.vswitchId,
    'vpc-id': instance.vpcId,
  })
}

function tagDirectory(tags: Readonly<Record<string, string>>): Directory | undefined {
  const entries = Object.entries(tags)
  return entries.length === 0 ? undefined : directory({ instance: directoryOf(entries) })
}

/** Six of the members of the answer have other names than at ECS. */
function credentialsJson(credentials: StsCredentials): string {
  const { AccessKeyId, AccessKeySecret, SecurityToken, Expiration, LastUpdated } = credentials
  const answer = {
    Code: 'Success',
    LastUpdated,
    Type: 'AWS-HMAC',
    AccessKeyId: AccessKeyId.replace(/^STS\./, 'ASIA'),
    SecretAccessKey: AccessKeySecret,
    Token: SecurityToken,
    Expiration,
  }
  return JSON.stringify(answer, null, 2)
}

function document(instance: Instance): string {
  const answer = {
    accountId: accountId(instance),
    architecture: 'x86_64',
    availabilityZone: instance.zoneId,
    imageId: `ami-${instance.serialNumber.slice(0, 8)}`,
    instanceId: instance.instanceId,
    instanceType: 'm6i.large',
    pendingTime: '2026-01-01T00:00:00Z',
    privateIp: instance.privateIpv4,
    region: instance.regionId,
    version: '2017-09-30',
  }
  return JSON.stringify(answer, null, 2)
}

/** AWS account ids have twelve digits. */
function accountId(instance: Instance): string {
  return instance.ownerAccountId.slice(0, 12)
}
