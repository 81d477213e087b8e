import type { MetadataService } from './answer.ts'
import type { Cloud } from './cloud.ts'
import { ecsCloud } from './cloud-ecs.ts'
import { describeInstance } from './instance.ts'
import { sessionsOf } from './session-token.ts'
import type { Signer } from './signer.ts'
import type { StsCredentials } from './sts-credentials.ts'

/** What the metadata of the instance follow from, besides its id. */
export interface ServiceOptions {
  /** Whose metadata service it plays; that of ECS if absent. */
  readonly cloud?: Cloud | undefined
  readonly regionId?: string | undefined
  readonly zoneId?: string | undefined
  /** The RAM role; undefined: the instance has none, and its paths answer 404. */
  readonly role?: string | undefined
  readonly tokens?: 'required' | 'optional' | undefined
  readonly userData?: Buffer | undefined
  readonly vendorData?: Buffer | undefined
  readonly tags?: Readonly<Record<string, string>> | undefined
  /** `YYYY-MM-DDThh:mm:ssZ`; absent: no release is scheduled, and the path answers 404. */
  readonly spotTerminationTime?: string | undefined
  /** Monotonic clock in milliseconds, for session tokens. */
  readonly monotonicNow?: (() => number) | undefined
}

/** Makes of the options what requests are answered from. */
export function metadataService(
  instanceId: string,
  options: ServiceOptions,
  signer: Signer,
  credentials: () => StsCredentials,
): MetadataService {
  const { cloud = ecsCloud, tokens = 'required', role, tags = {} } = options
  const regionId = options.regionId ?? cloud.regionId
  const zoneId = options.zoneId ?? cloud.zoneOf(regionId)
  const instance = describeInstance(instanceId, regionId, zoneId)
  for (const name of [...Object.keys(tags), ...(role === undefined ? [] : [role])]) {
    if (!isPathName(name)) {
      throw new Error(`not a name for a metadata path: ${JSON.stringify(name)}`)
    }
  }
  const equipment = {
    role:
      role === undefined
        ? undefined
        : { name: role, credentials: () => cloud.credentialsJson(credentials()) },
    tags,
    spotTerminationTime: options.spotTerminationTime,
    userData: options.userData,
    vendorData: options.vendorData,
  }
  const pkcs7 = (query: URLSearchParams) =>
    signer.signPkcs7(cloud.document(instance, query.get('audience') ?? undefined))
  return {
    cloud,
    tokens,
    sessions: sessionsOf(instanceId, options.monotonicNow ?? (() => performance.now())),
    listed: cloud.listed(instance, equipment, pkcs7),
    unlisted: cloud.unlisted(instance, equipment),
  }
}

/** The characters that the vendor allows in tag keys once metadata serves them; roles use fewer. */
export function isPathName(name: string): boolean {
  return /^[A-Za-z0-9@:_\-.=,]+$/.test(name) && name !== '.' && name !== '..'
}
