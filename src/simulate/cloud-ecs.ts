import type { Cloud } from './cloud.ts'
import { identityDocument } from './identity-document.ts'
import { listedTree, unlistedPaths } from './metadata.ts'
import { toEcsJson } from './sts-credentials.ts'

/** Alibaba Cloud ECS. Source: ECS user guide, "View instance metadata", "Instance identity". */
export const ecsCloud: Cloud = {
  versions: ['2016-01-01', 'latest'],
  tokenPath: '/latest/api/token',
  tokenHeader: 'X-aliyun-ecs-metadata-token',
  ttlHeader: 'X-aliyun-ecs-metadata-token-ttl-seconds',
  statusWithoutToken: 403,
  refusesForwardedReads: false,
  slashAfterLeaf: false,
  redirectsToSlashAt: undefined,
  regionId: 'cn-hangzhou',
  zoneOf: (regionId) => `${regionId}-i`,
  listed: listedTree,
  unlisted: unlistedPaths,
  credentialsJson: toEcsJson,
  document: identityDocument,
}
