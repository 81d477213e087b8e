import type { Cloud } from '../../src/simulate/cloud.ts'
import { directory, directoryOf } from '../../src/simulate/tree.ts'

/** The metadata service of the cloud in toy.ts: what the simulator needs of a third cloud. */
export const cloudToy: Cloud = {
  versions: ['v9'],
  tokenPath: '/v9/session',
  tokenHeader: 'X-Toy-Session',
  ttlHeader: 'X-Toy-Session-Seconds',
  statusWithoutToken: 401,
  refusesForwardedReads: false,
  slashAfterLeaf: false,
  redirectsToSlashAt: 'http://192.0.2.80',
  regionId: 'here',
  zoneOf: (regionId) => `${regionId}-1`,
  listed: ({ instanceId }, { role }, proof) =>
    directory({
      machine: directory({
        id: instanceId,
        proof,
        roles: role && directoryOf([[role.name, role.credentials]]),
      }),
    }),
  unlisted: () => new Map(),
  credentialsJson: ({ AccessKeyId, AccessKeySecret, SecurityToken, ...more }) =>
    JSON.stringify({ ...more, Id: AccessKeyId, Hidden: AccessKeySecret, Session: SecurityToken }),
  document: ({ instanceId }, audience) => JSON.stringify({ instanceId, audience }),
}
