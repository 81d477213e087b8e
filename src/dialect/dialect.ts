import type { ErrorCode } from '../errors.ts'
import type { DialectName } from '../format/dialect-name.ts'

/** The words of one cloud's metadata service: all that differs between clouds, as data. */
export interface Dialect {
  readonly name: DialectName
  /** Where the service is on an instance. */
  readonly endpoint: string
  /** The first path segments that hold metadata; anything else does not exist. */
  readonly versions: readonly string[]
  /** Where PUT makes a session token. */
  readonly tokenPath: string
  /** Header that carries a token on reads, in lower case. */
  readonly tokenHeader: Lowercase<string>
  /** Header that carries a token's lifetime in seconds, in lower case. */
  readonly ttlHeader: Lowercase<string>
  /** What names the instance. */
  readonly instanceIdPath: string
  /** Paths that take the query `audience=VALUE`; every other query is refused. */
  readonly audiencePaths: readonly string[]
  /** Path patterns that only root reads if no rule of the policy says otherwise. */
  readonly secretPaths: readonly string[]
  /** Where the name of the instance's role is listed; its credentials are one level below. */
  readonly rolesPath: string
  /** How long answers hold; below the version, what is not `short`. */
  readonly lifetimes: LifetimeTable
  /** What role credentials hold besides Code, LastUpdated and Expiration. */
  readonly credentialMembers: CredentialNames
  /** The longest that a session token of the service lives; the shortest is 1 s everywhere. */
  readonly ttlSecondsMax: number
  /** How the cloud's SDKs are given credentials by a program and by their environment. */
  readonly sdk: SdkWords
  /** Where this cloud answers with another status than errors.ts says. */
  readonly status: Readonly<Partial<Record<ErrorCode, number>>>
}

/** How long answers of a kind hold; src/metadata/lifetimes.ts has the numbers. */
export type LifetimeName = 'boot' | 'short' | 'brief' | 'credentials' | 'once'

/**
 * Which paths below the version have which lifetime. `*` stands for one segment, a last `**` for the
 * path itself and all below it. The first that fits decides.
 */
export type LifetimeTable = readonly (readonly [pattern: string, name: LifetimeName])[]

/** What somebody calls the three parts of credentials. */
export interface CredentialNames {
  readonly accessKeyId: string
  readonly accessKeySecret: string
  readonly securityToken: string
}

/** What the SDKs of a cloud read. */
interface SdkWords {
  /** The JSON that they expect of a program that prints credentials. */
  readonly process: {
    readonly names: CredentialNames
    /** The member for the time at which they end. */
    readonly expiration: string
    /** What the JSON holds besides. */
    readonly constant: Readonly<Record<string, string | number>>
  }
  readonly environment: {
    readonly names: CredentialNames
    /** For a URL to read credentials at. */
    readonly url: string
    /** Of the SDKs' default chain these come before what is set here, and would win over it. */
    readonly earlierInChain: readonly string[]
    /** No SDK may go around the agent, read without a token, or take keys from a file. */
    readonly always: Readonly<Record<string, string>>
  }
}
