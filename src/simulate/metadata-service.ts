import type { MetadataService } from './answer.ts'
import { identityDocument } from './identity-document.ts'
import { describeInstance } from './instance.ts'
import { listedTree, unlistedPaths } from './metadata.ts'
import { sessionsOf } from './session-token.ts'
import type { Signer } from './signer.ts'
import type { SimulatorOptions } from './simulator.ts'

/** Makes of the options what requests are answered from. */
export function metadataService(
  instanceId: string,
  options: SimulatorOptions,
  signer: Signer,
  credentials: () => string,
): MetadataService {
  const { regionId = 'cn-hangzhou', tokens = 'required', role, tags = {} } = options
  const instance = describeInstance(instanceId, regionId, options.zoneId ?? `${regionId}-i`)
  for (const name of [...Object.keys(tags), ...(role === undefined ? [] : [role])]) {
    checkName(name)
  }
  const equipment = {
    role: role === undefined ? undefined : { name: role, credentials },
    tags,
    spotTerminationTime: options.spotTerminationTime,
    userData: options.userData,
    vendorData: options.vendorData,
  }
  const pkcs7 = (query: URLSearchParams) =>
    signer.signPkcs7(identityDocument(instance, query.get('audience') ?? undefined))
  return {
    tokens,
    sessions: sessionsOf(instanceId, options.monotonicNow ?? (() => performance.now())),
    listed: listedTree(instance, equipment, pkcs7),
    unlisted: unlistedPaths(instance, equipment),
  }
}

/** The characters that the vendor allows in tag keys once metadata serves them; roles use fewer. */
function checkName(name: string): void {
  if (!/^[A-Za-z0-9@:_\-.=,]+$/.test(name) || name === '.' || name === '..') {
    throw new Error(`not a name for a metadata path: ${JSON.stringify(name)}`)
  }
}
