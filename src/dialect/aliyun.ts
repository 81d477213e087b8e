import type { Dialect } from './dialect.ts'

/**
 * Alibaba Cloud ECS. Source: the ECS user guide, "View instance metadata" and "Instance identity".
 * A read without a token is answered 403 there, while other clouds answer 401; errors.ts has the
 * statuses of this dialect, so the table is empty.
 */
export const aliyun: Dialect = {
  name: 'aliyun',
  endpoint: 'http://100.100.100.200',
  versions: ['latest', '2016-01-01'],
  tokenPath: '/latest/api/token',
  tokenHeader: 'x-aliyun-ecs-metadata-token',
  ttlHeader: 'x-aliyun-ecs-metadata-token-ttl-seconds',
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
  credentialMembers: {
    accessKeyId: 'AccessKeyId',
    accessKeySecret: 'AccessKeySecret',
    securityToken: 'SecurityToken',
  },
  ttlSecondsMax: 21_600,
  sdk: {
    process: {
      // Of a process_command: @alicloud/credentials and the aliyun CLI.
      names: {
        accessKeyId: 'access_key_id',
        accessKeySecret: 'access_key_secret',
        securityToken: 'sts_token',
      },
      expiration: 'expiration',
      constant: { mode: 'StsToken' },
    },
    environment: {
      names: {
        accessKeyId: 'ALIBABA_CLOUD_ACCESS_KEY_ID',
        accessKeySecret: 'ALIBABA_CLOUD_ACCESS_KEY_SECRET',
        securityToken: 'ALIBABA_CLOUD_SECURITY_TOKEN',
      },
      url: 'ALIBABA_CLOUD_CREDENTIALS_URI',
      earlierInChain: [
        'ALIBABA_CLOUD_ACCESS_KEY_ID',
        'ALIBABA_CLOUD_ACCESS_KEY_SECRET',
        'ALIBABA_CLOUD_SECURITY_TOKEN',
        'ALIBABA_CLOUD_ROLE_ARN',
        'ALIBABA_CLOUD_OIDC_PROVIDER_ARN',
        'ALIBABA_CLOUD_OIDC_TOKEN_FILE',
        'ALIBABA_CLOUD_CREDENTIALS_URI',
        'ALIBABA_CLOUD_ECS_METADATA',
      ],
      always: {
        ALIBABA_CLOUD_ECS_METADATA_DISABLED: 'true',
        ALIBABA_CLOUD_IMDSV1_DISABLED: 'true',
        ALIBABA_CLOUD_CLI_PROFILE_DISABLED: 'true',
      },
    },
  },
  status: {},
}
