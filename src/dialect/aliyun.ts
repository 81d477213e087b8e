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
  credentialMembers: ['AccessKeyId', 'AccessKeySecret', 'SecurityToken'],
  status: {},
}
