import type { Config } from '../config.ts'
import { MetabindError } from '../errors.ts'
import { hindrance, installedSandbox } from './unit-sandbox.ts'

/**
 * Whether the agent could use the paths of a configuration from within its unit. Owners and modes are not
 * looked at: this may be a draft, checked by somebody else.
 *
 * @param root of the system, `/` but for tests
 * @throws MetabindError CONFIG_SANDBOX with the first key whose path it could not
 */
export function requireInSandbox(config: Config, root = '/'): void {
  const sandbox = installedSandbox(root)
  if (sandbox === undefined) return
  const written = {
    'audit.file': config.audit.file,
    'directories.runtime': config.directories.runtime,
    'directories.state': config.directories.state,
  }
  const read = {
    'policy.file': config.policy.file,
    'tpm.ek_anchors': config.tpm.ek_anchors,
    'tpm.ak_certificate': config.tpm.ak_certificate,
    'tpm.ak_anchors': config.tpm.ak_anchors,
    'source.identity_certificate': config.source.identity_certificate,
  }
  for (const [key, path] of Object.entries({ ...written, ...read })) {
    if (path === undefined) continue
    const found = hindrance(sandbox, path)
    if (found === 'hidden') {
      throw new MetabindError('CONFIG_SANDBOX', `${key}: the agent does not see ${path}.`)
    }
    if (found === 'read-only' && key in written) {
      throw new MetabindError('CONFIG_SANDBOX', `${key}: the agent may not write ${path}.`)
    }
  }
}
