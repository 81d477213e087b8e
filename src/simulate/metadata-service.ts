import type { MetadataService } from './answer.ts'
import { CLOUDS } from './cloud.ts'
import { describeInstance } from './instance.ts'
import type { RamCredentials } from './ram-credentials.ts'
import { sessionsOf } from './session-token.ts'
import type { Signer } from './signer.ts'
import type { SimulatorOptions } from './simulator.ts'

/** Makes of the options what requests are answered from. */
export function metadataService(
  instanceId: string,
  options: SimulatorOptions,
  signer: Signer,
  credentials: () => RamCredentials,
): MetadataService {
  const { tokens = 'required', role, tags = {} } = options
  const cloud = CLOUDS[options.cloud ?? 'aliyun']
  const regionId = options.regionId ?? cloud.regionId
  const zoneId = options.zoneId ?? cloud.zoneOf(regionId)
  const instance = describeInstance(instanceId, regionId, zoneId)
  for (const name of [...Object.keys(tags), ...(role === undefined ? [] : [role])]) {
    checkName(name)
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
function checkName(name: string): void {
  if (!/^[A-Za-z0-9@:_\-.=,]+$/.test(name) || name === '.' || name === '..') {
    throw new Error(`not a name for a metadata path: ${JSON.stringify(name)}`)
  }
}
