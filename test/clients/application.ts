import { fileURLToPath } from 'node:url'
import { asUser, type Networks } from '../harness/networks.ts'
import { startLineProcess } from './line-process.ts'

const SCRIPT = fileURLToPath(new URL('use-alicloud.cjs', import.meta.url))

/** What the SDK got, or the message of its error. */
interface Got {
  readonly accessKeyId?: string
  readonly accessKeySecret?: string
  readonly securityToken?: string
  readonly providerName?: string
  readonly error?: string
}

/** A running application of a user of the host, with the unmodified SDK. */
export interface Application {
  /** A new SDK client of this configuration asks for credentials; null is the default chain. */
  credentials(config: object | null): Promise<Got>
  end(): Promise<void>
}

/** @param through more commands before the application, such as `metabind exec` */
export function startApplication(
  networks: Networks,
  uid: number,
  env: Readonly<Record<string, string>>,
  through: readonly string[] = [],
): Application {
  const variables = Object.entries({ HOME: '/nonexistent', ...env }).map((pair) => pair.join('='))
  const { ask, end } = startLineProcess<Got>([
    ...networks.hostPrefix,
    ...asUser(uid),
    ...['env', ...variables, ...through, process.execPath, SCRIPT],
  ])
  return { credentials: ask, end }
}
