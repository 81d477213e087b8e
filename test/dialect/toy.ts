import type { Dialect } from '../../src/dialect/dialect.ts'
import type { DialectName } from '../../src/format/dialect-name.ts'

/** A cloud that nobody has. What a third cloud needs in src/dialect is this file, and its name in the lists. */
export const toy: Dialect = {
  // DIALECT_NAMES would have it: evidence and configuration name no cloud that the build does not know.
  name: 'toy' as DialectName,
  endpoint: 'http://192.0.2.80',
  versions: ['v9'],
  tokenPath: '/v9/session',
  tokenHeader: 'x-toy-session',
  ttlHeader: 'x-toy-session-seconds',
  instanceIdPath: '/v9/machine/id',
  audiencePaths: ['/v9/machine/proof'],
  secretPaths: ['/*/machine/roles/*/**'],
  rolesPath: '/v9/machine/roles/',
  lifetimes: [
    ['machine/id', 'boot'],
    ['machine/roles/*', 'credentials'],
  ],
  credentialMembers: { accessKeyId: 'Id', accessKeySecret: 'Hidden', securityToken: 'Session' },
  ttlSecondsMax: 600,
  sdk: {
    process: {
      names: { accessKeyId: 'id', accessKeySecret: 'hidden', securityToken: 'session' },
      expiration: 'until',
      constant: { form: 1 },
    },
    environment: {
      names: { accessKeyId: 'TOY_ID', accessKeySecret: 'TOY_HIDDEN', securityToken: 'TOY_SESSION' },
      url: 'TOY_URL',
      earlierInChain: ['TOY_ID'],
      always: { TOY_METADATA: 'off' },
    },
  },
  status: { TOKEN_MISSING: 401 },
}
