import type { Instance } from './instance.ts'
import type { Equipment } from './metadata.ts'
import type { StsCredentials } from './sts-credentials.ts'
import type { Directory, Leaf } from './tree.ts'

/** The words, statuses and tree of one cloud's metadata service: all that differs, as data. */
export interface Cloud {
  readonly versions: readonly string[]
  readonly tokenPath: string
  readonly tokenHeader: string
  readonly ttlHeader: string
  /** How a read without a token is refused if tokens are required. */
  readonly statusWithoutToken: 401 | 403
  /** Whether a read with X-Forwarded-For is refused too; a token request always is. */
  readonly refusesForwardedReads: boolean
  /** Whether a leaf answers with a slash after it too, as a directory does. */
  readonly slashAfterLeaf: boolean
  /** Where it is, as its redirects say; undefined: a directory answers without its slash, too. */
  readonly redirectsToSlashAt: string | undefined
  readonly regionId: string
  /** The zone of a region when none was given. */
  readonly zoneOf: (regionId: string) => string
  /** Everything that the listings below one version lead to. */
  readonly listed: (instance: Instance, equipment: Equipment, pkcs7: Leaf) => Directory
  /** Paths that answer although no listing names them. */
  readonly unlisted: (instance: Instance, equipment: Equipment) => ReadonlyMap<string, Leaf>
  /** What a role's path answers. */
  readonly credentialsJson: (credentials: StsCredentials) => string
  /** The identity document that PKCS7 signs. */
  readonly document: (instance: Instance, audience: string | undefined) => string
}
