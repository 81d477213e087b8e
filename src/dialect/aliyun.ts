import type { Dialect } from './dialect.ts'

/**
 * Alibaba Cloud ECS. Source: the ECS user guide, "View instance metadata" and "Instance identity".
 * A read without a token is answered 403 there, where other clouds answer 401; errors.ts has the
 * statuses of this dialect, so the table is empty.
 */
export const aliyun: Dialect = {
  name: 'aliyun',
  endpoint: 'http://100.100.100.200',
  versions: ['latest', '2016-01-01'],
  tokenPath: '/latest/api/token',
  tokenHeader: 'x-aliyun-ecs-metadata-token',
  ttlHeader: 'X-aliyun-ecs-metadata-token-ttl-seconds',
  instanceIdPath: '/latest/meta-data/instance-id',
  audiencePaths: [
    '/latest/dynamic/instance-identity/pkcs7',
    '/2016-01-01/dynamic/instance-identity/pkcs7',
  ],
  // Not secret: the listing of security-credentials, which names the role.
  secretPaths: [
    '/*/meta-data/ram/security-credentials/*/**',
    // The whole tree as JSON. That credentials are not in it is documented nowhere.
    '/*/meta-data/all/**',
    '/*/user-data/**',
    '/*/vendor-data/**',
    '/*/dynamic/instance-identity/pkcs7/**',
  ],
  rolesPath: '/latest/meta-data/ram/security-credentials/',
  lifetimes: [
    ['meta-data/instance-id', 'boot'],
    ['meta-data/serial-number', 'boot'],
    ['meta-data/owner-account-id', 'boot'],
    ['meta-data/region-id', 'boot'],
    ['meta-data/zone-id', 'boot'],
    ['meta-data/image-id', 'boot'],
    ['meta-data/mac', 'boot'],
    ['meta-data/network-type', 'boot'],
    ['meta-data/vpc-id', 'boot'],
    ['meta-data/vswitch-id', 'boot'],
    ['meta-data/instance/instance-type', 'boot'],
    ['meta-data/instance/virtualization-solution', 'boot'],
    ['meta-data/instance/virtualization-solution-version', 'boot'],
    ['meta-data/ram/security-credentials/*', 'credentials'],
    ['meta-data/network/interfaces/**', 'brief'],
    ['meta-data/sub-private-ipv4-list', 'brief'],
    ['meta-data/eipv4', 'brief'],
    ['meta-data/public-ipv4', 'brief'],
    ['meta-data/disks/**', 'brief'],
    ['meta-data/instance/spot/**', 'brief'],
    ['meta-data/instance/last-host-landing-time', 'brief'],
    // Holds the whole tree, so what is in it ends with the first of its parts.
    ['meta-data/all', 'brief'],
    ['maintenance/**', 'brief'],
  ],
  credentialMembers: ['AccessKeyId', 'AccessKeySecret', 'SecurityToken'],
  status: {},
}
